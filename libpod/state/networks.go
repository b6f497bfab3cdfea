// SPDX-License-Identifier: Apache-2.0

package state

import (
	"database/sql/driver"
	"time"
)

// Network is one network's record. Config is JSON of the engine's.
type Network struct {
	Name    string
	ID      string
	Created time.Time
	Config  []byte
}

// AddNetwork adds a network and reports false where the name exists.
func (d *DB) AddNetwork(n *Network) (added bool, err error) {
	err = d.write("write", func() error {
		k, err := d.change("INSERT OR IGNORE INTO networks(name, id, created, config) VALUES(?,?,?,?)", n.Name, n.ID, nanos(n.Created), n.Config)
		added = k > 0
		return err
	})
	return added, err
}

// Network returns the network of exactly this name, nil where there is none.
func (d *DB) Network(name string) (*Network, error) {
	list, err := d.networks("WHERE name=?", name)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

// Networks returns every network by name.
func (d *DB) Networks() ([]*Network, error) { return d.networks("ORDER BY name") }

func (d *DB) networks(where string, args ...driver.Value) (list []*Network, err error) {
	err = d.read(func() error {
		list = nil
		return d.query(func(v []driver.Value) error {
			list = append(list, &Network{Name: str(v[0]), ID: str(v[1]), Created: when(v[2]), Config: blob(v[3])})
			return nil
		}, "SELECT name, id, created, config FROM networks "+where, args...)
	})
	return list, err
}

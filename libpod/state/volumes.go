// SPDX-License-Identifier: Apache-2.0

package state

import (
	"database/sql/driver"
	"time"
)

// Volume is one volume's record; its directory is named after it.
type Volume struct {
	Name      string
	Driver    string
	Created   time.Time
	Labels    map[string]string
	Options   map[string]string
	Anonymous bool
	Users     []string // ids of containers
}

// AddVolume adds a volume and reports false where the name exists.
func (d *DB) AddVolume(v *Volume) (added bool, err error) {
	err = d.write("write", func() error {
		added, err = d.addVolume(v)
		return err
	})
	return added, err
}

func (d *DB) addVolume(v *Volume) (bool, error) {
	n, err := d.change("INSERT OR IGNORE INTO volumes(name, driver, created, labels, options, anonymous) VALUES(?,?,?,?,?,?)",
		v.Name, v.Driver, nanos(v.Created), packMap(v.Labels), packMap(v.Options), flag(v.Anonymous))
	return n > 0, err
}

// Volumes returns every volume by name, with its users.
func (d *DB) Volumes() (list []*Volume, err error) {
	err = d.read(func() error {
		list = nil
		return d.query(func(v []driver.Value) error {
			list = append(list, &Volume{Name: str(v[0]), Driver: str(v[1]), Created: when(v[2]), Labels: unpackMap(str(v[3])),
				Options: unpackMap(str(v[4])), Anonymous: num(v[5]) != 0, Users: unpack(str(v[6]))})
			return nil
		}, `SELECT name, driver, created, labels, options, anonymous,
 (SELECT CAST(group_concat(container, char(0)) AS BLOB) FROM uses WHERE volume=name) FROM volumes ORDER BY name`)
	})
	return list, err
}

// ContainerVolumes returns the volumes that a container uses, with all users.
func (d *DB) ContainerVolumes(id string) (list []*Volume, err error) {
	err = d.read(func() error {
		list = nil
		return d.query(func(v []driver.Value) error {
			list = append(list, &Volume{Name: str(v[0]), Driver: str(v[1]), Created: when(v[2]), Labels: unpackMap(str(v[3])),
				Options: unpackMap(str(v[4])), Anonymous: num(v[5]) != 0, Users: unpack(str(v[6]))})
			return nil
		}, `SELECT name, driver, created, labels, options, anonymous,
 (SELECT CAST(group_concat(o.container, char(0)) AS BLOB) FROM uses o WHERE o.volume=name) FROM volumes
 JOIN uses ON volume=name WHERE container=? ORDER BY name`, id)
	})
	return list, err
}

// DeleteVolume removes a volume's record unless a container uses it, in which
// case it returns that container's id. found is false where there was none.
func (d *DB) DeleteVolume(name string) (user string, found bool, err error) {
	err = d.settle(func() (err error) {
		if user, err = d.text("SELECT container FROM uses WHERE volume=? LIMIT 1", name); err != nil || user != "" {
			return err
		}
		n, err := d.change("DELETE FROM volumes WHERE name=?", name)
		found = n > 0
		return err
	})
	return user, found || user != "", err
}

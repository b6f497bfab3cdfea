// SPDX-License-Identifier: Apache-2.0

package state

import (
	"database/sql/driver"
	"time"
)

// Event is one thing that happened to an object.
type Event struct {
	Time       time.Time
	Type       string // container, image, volume, network
	Action     string // create, start, die, destroy, ...
	Actor      string // id or name
	Attributes map[string]string
}

// keepEvents is how many events are kept; the oldest are dropped now and then.
const keepEvents = 4096

// AddEvent records an event on its own.
func (d *DB) AddEvent(e Event) error {
	return d.write("write", func() error { return d.addEvent(e) })
}

func (d *DB) addEvent(e Event) error {
	if e.Action == "" {
		return nil
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	r, err := d.conn.Exec("INSERT INTO events(time, type, action, actor, attributes) VALUES(?,?,?,?,?)",
		[]driver.Value{nanos(e.Time), e.Type, e.Action, e.Actor, packMap(e.Attributes)})
	if err != nil {
		return err
	}
	if seq, _ := r.LastInsertId(); seq%256 == 0 {
		return d.exec("DELETE FROM events WHERE seq<?", seq-keepEvents)
	}
	return nil
}

// Events returns the events from since on that came after seq, the oldest
// first, and the number of the last one.
func (d *DB) Events(since time.Time, after int64) (list []Event, last int64, err error) {
	err = d.read(func() error {
		list, last = nil, after
		return d.query(func(v []driver.Value) error {
			last = num(v[0])
			list = append(list, Event{Time: when(v[1]), Type: str(v[2]), Action: str(v[3]), Actor: str(v[4]), Attributes: unpackMap(str(v[5]))})
			return nil
		}, "SELECT seq, time, type, action, actor, attributes FROM events WHERE seq>? AND time>=? ORDER BY seq", after, nanos(since))
	})
	return list, last, err
}

// LastEvent returns the latest event of an action on an object, nil where there is
// none, or none any more.
func (d *DB) LastEvent(action, actor string) (ev *Event, err error) {
	err = d.read(func() error {
		ev = nil
		return d.query(func(v []driver.Value) error {
			ev = &Event{Time: when(v[0]), Type: str(v[1]), Action: action, Actor: actor, Attributes: unpackMap(str(v[2]))}
			return nil
		}, "SELECT time, type, attributes FROM events WHERE action=? AND actor=? ORDER BY seq DESC LIMIT 1", action, actor)
	})
	return ev, err
}

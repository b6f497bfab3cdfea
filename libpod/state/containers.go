// SPDX-License-Identifier: Apache-2.0

package state

import (
	"database/sql/driver"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// Container is one container's row: everything that a list shows.
type Container struct {
	ID         string
	Name       string
	Created    time.Time
	Image      string // as the user wrote it
	ImageID    string
	Command    []string // path and arguments
	Labels     map[string]string
	Ports      []spec.Port // as asked for
	Exposed    []string    // "80/tcp", "8000-8005/udp"
	Mounts     []string    // volume names and host paths
	Networks   []string
	AutoRemove bool
	Restart    string // policy
	lifecycle.Record
	rev int64
}

// Body is what only the start and the inspection of a container need.
type Body struct {
	Spec   spec.Container
	Image  spec.ImageConfig
	Rootfs spec.Rootfs
}

const insertColumns = `id, name, created, image, image_id, command, labels, ports, exposed, mounts, networks, auto_remove, restart,
 state, exit_code, error, oom, started, finished, restarts, stopped, run, place, rev`

// columns is a row in two values instead of twenty-four: each value that
// crosses from SQLite to Go costs an allocation or two, and a list has a
// thousand rows. The first holds what cannot contain the separator, and the
// lengths of the parts of the second. See scan.
const columns = `id||char(31)||name||char(31)||image||char(31)||image_id||char(31)||restart||char(31)||state||char(31)||created||char(31)||
 auto_remove||char(31)||exit_code||char(31)||oom||char(31)||started||char(31)||finished||char(31)||restarts||char(31)||stopped||char(31)||run||char(31)||place||char(31)||rev||char(31)||
 length(command)||char(31)||length(labels)||char(31)||ifnull(length(ports),0)||char(31)||length(exposed)||char(31)||length(mounts)||char(31)||
 length(networks)||char(31)||length(CAST(error AS BLOB)),
 CAST(command||labels||ifnull(ports,'')||exposed||mounts||networks||error AS BLOB)`

// NameTaken says which container has a name that was asked for.
type NameTaken struct{ Name, ID string }

func (e *NameTaken) Error() string {
	return "The container name \"/" + e.Name + "\" is already in use by container \"" + e.ID + "\""
}

// Insert adds a container, the volumes that it uses where they do not exist,
// and e, all at once. A name in use is a *NameTaken error.
func (d *DB) Insert(c *Container, b *Body, volumes []*Volume, e Event) error {
	spc, err := json.Marshal(&b.Spec)
	if err != nil {
		return err
	}
	img, err := json.Marshal(&b.Image)
	if err != nil {
		return err
	}
	root, err := json.Marshal(&b.Rootfs)
	if err != nil {
		return err
	}
	ports, err := packPorts(c.Ports)
	if err != nil {
		return err
	}
	var taken *NameTaken
	err = d.write("write", func() error {
		taken = nil
		other, err := d.text("SELECT id FROM containers WHERE name=?", c.Name)
		if err != nil {
			return err
		}
		if other != "" {
			taken = &NameTaken{c.Name, other}
			return nil
		}
		if err := d.exec("INSERT INTO containers("+insertColumns+") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,1)",
			c.ID, c.Name, nanos(c.Created), c.Image, c.ImageID, pack(c.Command), packMap(c.Labels), ports, pack(c.Exposed),
			pack(c.Mounts), pack(c.Networks), flag(c.AutoRemove), c.Restart, string(c.State), int64(c.ExitCode), c.Error, flag(c.OOMKilled),
			nanos(c.StartedAt), nanos(c.FinishedAt), int64(c.RestartCount), flag(c.StoppedByUser), int64(c.Run), c.Place); err != nil {
			return err
		}
		if err := d.exec("INSERT INTO specs(id, spec, image, rootfs) VALUES(?,?,?,?)", c.ID, spc, img, root); err != nil {
			return err
		}
		for _, v := range volumes {
			if _, err := d.addVolume(v); err != nil {
				return err
			}
			if err := d.exec("INSERT OR IGNORE INTO uses(container, volume) VALUES(?,?)", c.ID, v.Name); err != nil {
				return err
			}
		}
		return d.addEvent(e)
	})
	if err == nil && taken != nil {
		return taken
	}
	c.rev = 1
	return err
}

// Update replaces the record of c by r and writes e, where e.Action is not
// empty, in the same transaction. It reports false, and changes nothing, where
// another process has changed or deleted the container since c was read. On
// success c carries r.
func (d *DB) Update(c *Container, r lifecycle.Record, e Event) (bool, error) {
	return d.Commit(c, r, nil, e)
}

// Commit is Update that also stores how the root file system is put together,
// which is not known yet when the container is inserted. nil: as it is.
func (d *DB) Commit(c *Container, r lifecycle.Record, root *spec.Rootfs, e Event) (bool, error) {
	var text []byte
	if root != nil {
		var err error
		if text, err = json.Marshal(root); err != nil {
			return false, err
		}
	}
	var n int64
	err := d.settle(func() (err error) {
		n, err = d.change(`UPDATE containers SET state=?, exit_code=?, error=?, oom=?, started=?, finished=?, restarts=?, stopped=?, run=?, place=?,
 rev=rev+1
 WHERE id=? AND rev=?`, string(r.State), int64(r.ExitCode), r.Error, flag(r.OOMKilled), nanos(r.StartedAt), nanos(r.FinishedAt),
			int64(r.RestartCount), flag(r.StoppedByUser), int64(r.Run), r.Place, c.ID, c.rev)
		if err != nil || n == 0 {
			return err
		}
		if text != nil {
			if err := d.exec("UPDATE specs SET rootfs=? WHERE id=?", text, c.ID); err != nil {
				return err
			}
		}
		return d.addEvent(e)
	})
	if err != nil || n == 0 {
		return false, err
	}
	c.Record = r
	c.rev++
	return true, nil
}

// Rename gives a container another name; *NameTaken where it is in use.
func (d *DB) Rename(id, name string) error {
	var taken *NameTaken
	err := d.write("write", func() error {
		taken = nil
		other, err := d.text("SELECT id FROM containers WHERE name=?", name)
		if err != nil {
			return err
		}
		if other != "" && other != id {
			taken = &NameTaken{name, other}
			return nil
		}
		return d.exec("UPDATE containers SET name=?, rev=rev+1 WHERE id=?", name, id)
	})
	if err == nil && taken != nil {
		return taken
	}
	return err
}

// Delete removes a container's record, its uses of volumes, and those of the
// named volumes that are anonymous and that no other container uses. It
// reports false where there was no such container.
func (d *DB) Delete(id string, volumes []string, e Event) (bool, error) {
	var n int64
	err := d.settle(func() (err error) {
		if n, err = d.change("DELETE FROM containers WHERE id=?", id); err != nil || n == 0 {
			return err
		}
		if err := d.exec("DELETE FROM specs WHERE id=?", id); err != nil {
			return err
		}
		if err := d.exec("DELETE FROM uses WHERE container=?", id); err != nil {
			return err
		}
		for _, v := range volumes {
			if err := d.exec("DELETE FROM volumes WHERE name=?1 AND anonymous AND NOT EXISTS(SELECT 1 FROM uses WHERE volume=?1)", v); err != nil {
				return err
			}
		}
		return d.addEvent(e)
	})
	return n > 0, err
}

// Get returns the container of exactly this id, nil where there is none.
func (d *DB) Get(id string) (*Container, error) {
	return d.one("WHERE id=?", id)
}

// Find returns the container with exactly this name, else exactly this id,
// else the only one whose id starts with ref.
func (d *DB) Find(ref string) (*Container, error) {
	ref = strings.TrimPrefix(ref, "/")
	if ref == "" {
		return nil, errs.New(errs.Invalid, "a container's name or id must not be empty")
	}
	var found []*Container
	err := d.read(func() error {
		found = nil
		return d.query(collect(&found), "SELECT "+columns+" FROM containers WHERE name=?1 OR id>=?1 AND id<?2 LIMIT 1000", ref, ref+"g")
	})
	if err != nil {
		return nil, err
	}
	return choose(found, ref)
}

// choose picks among the containers whose name is ref or whose id starts with it.
func choose(found []*Container, ref string) (*Container, error) {
	for _, c := range found {
		if c.Name == ref {
			return c, nil
		}
	}
	for _, c := range found {
		if c.ID == ref {
			return c, nil
		}
	}
	switch len(found) {
	case 0:
		return nil, errs.New(errs.NotFound, "No such container: %s", ref)
	case 1:
		return found[0], nil
	}
	return nil, errs.WithHint(errs.New(errs.Invalid, "Multiple IDs found with provided prefix: %s", ref),
		"write more digits of the id, or the name")
}

// List returns every container, in no order.
func (d *DB) List() (list []*Container, err error) {
	err = d.read(func() error {
		list = make([]*Container, 0, 16)
		return d.query(collect(&list), "SELECT "+columns+" FROM containers")
	})
	return list, err
}

// ListActive returns the containers that may be running: those whose record
// says so, those under way from one state to another, and the given ids.
func (d *DB) ListActive(ids []string) (list []*Container, err error) {
	where := "WHERE state NOT IN ('created','exited','dead')"
	args := make([]driver.Value, len(ids))
	if len(ids) > 0 {
		for i, id := range ids {
			args[i] = id
		}
		where += " OR id IN (?" + strings.Repeat(",?", len(ids)-1) + ")"
	}
	err = d.read(func() error {
		list = make([]*Container, 0, 16)
		return d.query(collect(&list), "SELECT "+columns+" FROM containers "+where, args...)
	})
	return list, err
}

// ImageUsers returns the containers made from an image id.
func (d *DB) ImageUsers(imageID string) (list []*Container, err error) {
	err = d.read(func() error {
		list = nil
		return d.query(collect(&list), "SELECT "+columns+" FROM containers WHERE image_id=?", imageID)
	})
	return list, err
}

// Body returns what Insert stored beside the row.
func (d *DB) Body(id string) (*Body, error) {
	var spc, img, root []byte
	err := d.read(func() error {
		return d.query(func(v []driver.Value) error {
			spc, img, root = blob(v[0]), blob(v[1]), blob(v[2])
			return nil
		}, "SELECT spec, image, rootfs FROM specs WHERE id=?", id)
	})
	if err != nil {
		return nil, err
	}
	if spc == nil {
		return nil, errs.New(errs.NotFound, "No such container: %s", id)
	}
	b := &Body{}
	for _, p := range []struct {
		data []byte
		to   any
	}{{spc, &b.Spec}, {img, &b.Image}, {root, &b.Rootfs}} {
		if err := json.Unmarshal(p.data, p.to); err != nil {
			return nil, d.explain("read", &corruptError{"record of container " + id + ": " + err.Error()})
		}
	}
	return b, nil
}

func (d *DB) one(where string, args ...driver.Value) (*Container, error) {
	var found []*Container
	err := d.read(func() error {
		found = nil
		return d.query(collect(&found), "SELECT "+columns+" FROM containers "+where, args...)
	})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

func collect(to *[]*Container) func([]driver.Value) error {
	return func(v []driver.Value) error {
		c, err := scan(v)
		if err == nil {
			*to = append(*to, c)
		}
		return err
	}
}

// scan reads a row made of columns.
func scan(v []driver.Value) (*Container, error) {
	head := fields{rest: str(v[0])}
	c := &Container{ID: head.text(), Name: head.text(), Image: head.text(), ImageID: head.text(), Restart: head.text()}
	c.State = lifecycle.State(head.text())
	c.Created = head.time()
	c.AutoRemove = head.number() != 0
	c.ExitCode = int(head.number())
	c.OOMKilled = head.number() != 0
	c.StartedAt, c.FinishedAt = head.time(), head.time()
	c.RestartCount = int(head.number())
	c.StoppedByUser = head.number() != 0
	c.Run, c.Place = int(head.number()), head.text()
	c.rev = head.number()
	data := str(v[1])
	part := func() string {
		n := int(head.number())
		if n < 0 || n > len(data) {
			head.bad = true
			return ""
		}
		p := data[:n]
		data = data[n:]
		return p
	}
	c.Command, c.Labels = unpack(part()), unpackMap(part())
	ports := part()
	c.Exposed, c.Mounts, c.Networks, c.Error = unpack(part()), unpack(part()), unpack(part()), part()
	if head.bad {
		return nil, &corruptError{"row of container " + c.ID}
	}
	var err error
	c.Ports, err = unpackPorts(ports)
	return c, err
}

// fields reads values separated by the byte 31.
type fields struct {
	rest string
	bad  bool
}

func (f *fields) text() (s string) {
	s, f.rest, _ = strings.Cut(f.rest, "\x1f")
	return s
}

func (f *fields) number() int64 {
	n, err := strconv.ParseInt(f.text(), 10, 64)
	f.bad = f.bad || err != nil
	return n
}

func (f *fields) time() time.Time {
	n := f.number()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// ImageUse counts the containers of each image.
func (d *DB) ImageUse() (use map[string]int, err error) {
	err = d.read(func() error {
		use = map[string]int{}
		return d.query(func(v []driver.Value) error {
			use[str(v[0])] = int(num(v[1]))
			return nil
		}, "SELECT image_id, count(*) FROM containers GROUP BY image_id")
	})
	return use, err
}

// SpecsWith returns the specifications, as JSON, that contain text. It reads
// them all.
func (d *DB) SpecsWith(text string) (list [][]byte, err error) {
	err = d.read(func() error {
		list = nil
		return d.query(func(v []driver.Value) error {
			list = append(list, blob(v[0]))
			return nil
		}, "SELECT spec FROM specs WHERE instr(spec, ?)>0", []byte(text))
	})
	return list, err
}

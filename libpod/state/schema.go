// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/proa-containers/proa/pkg/errs"
)

// migrations bring the schema from version i to i+1. Each runs in a
// transaction of its own together with the new user_version.
var migrations = []string{
	// containers has what `ps` needs; the specification, 2 KB of JSON, is in
	// a table of its own so that a list reads few pages. Lists are packed:
	// see pack.
	`CREATE TABLE containers(id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INT, image TEXT, image_id TEXT,
 command BLOB, labels BLOB, ports BLOB, exposed BLOB, mounts BLOB, networks BLOB, auto_remove INT, restart TEXT,
 state TEXT, exit_code INT, error TEXT, oom INT, started INT, finished INT, restarts INT, stopped INT, rev INT) WITHOUT ROWID;
CREATE TABLE specs(id TEXT PRIMARY KEY, spec BLOB, image BLOB, rootfs BLOB) WITHOUT ROWID;
CREATE TABLE volumes(name TEXT PRIMARY KEY, driver TEXT, created INT, labels BLOB, options BLOB, anonymous INT) WITHOUT ROWID;
CREATE TABLE uses(container TEXT, volume TEXT, PRIMARY KEY(volume, container)) WITHOUT ROWID;
CREATE TABLE networks(name TEXT PRIMARY KEY, id TEXT, created INT, config BLOB) WITHOUT ROWID;
CREATE TABLE events(seq INTEGER PRIMARY KEY, time INT, type TEXT, action TEXT, actor TEXT, attributes BLOB);`,
	// Which start of the container it is, and where that takes place.
	`ALTER TABLE containers ADD COLUMN run INT NOT NULL DEFAULT 0;
ALTER TABLE containers ADD COLUMN place TEXT NOT NULL DEFAULT '';`,
}

// migrate brings an older or new file to the present schema. A file of the
// present version costs one read.
func (d *DB) migrate() error {
	v, err := d.integer("PRAGMA user_version")
	if err != nil {
		return err
	}
	if v > int64(len(migrations)) {
		return errs.WithHint(errs.New(errs.Unsupported, "the database %s was written by a newer proa (schema %d, this one knows %d)", d.path, v, len(migrations)),
			"use the newer proa, or choose another directory with PROA_DATA_DIR")
	}
	network := onNetwork(filepath.Dir(d.path))
	if v == int64(len(migrations)) && !network {
		return nil
	}
	mode := "WAL"
	if network {
		// A WAL's index is shared memory, which a network does not carry.
		mode = "TRUNCATE"
	}
	if _, err := d.text("PRAGMA journal_mode=" + mode); err != nil {
		return err
	}
	for v < int64(len(migrations)) {
		if err := d.transaction(func() (err error) {
			// Another process may have been faster.
			if v, err = d.integer("PRAGMA user_version"); err != nil || v >= int64(len(migrations)) {
				return err
			}
			if err := d.exec(migrations[v]); err != nil {
				return err
			}
			v++
			return d.exec(fmt.Sprintf("PRAGMA user_version=%d", v))
		}); err != nil {
			return err
		}
	}
	return nil
}

// onNetwork reports whether dir is on a file system shared between machines
// (statfs(2) magic numbers).
func onNetwork(dir string) bool {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return false
	}
	switch uint32(st.Type) {
	case 0x6969, // nfs
		0x517b, 0xff534d42, 0xfe534d42, // smb, cifs, smb2
		0x5346414f, 0x6b414653, // afs
		0x00c36400, // ceph
		0x0bd00bd0, // lustre
		0x01021997, // 9p
		0x20030528, // orangefs
		0x47504653, // gpfs
		0x19830326, // beegfs
		0x01161970, // gfs2
		0x7461636f: // ocfs2
		return true
	}
	return false
}

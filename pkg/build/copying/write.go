// SPDX-License-Identifier: Apache-2.0

package copying

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/files"
	"github.com/proa-containers/proa/pkg/build/source"
	"github.com/proa-containers/proa/pkg/errs"
)

// Target is where items go, and what becomes of them there.
type Target struct {
	Dest  string       // absolute; with a slash at its end a directory
	Owner *files.Owner // nil: as in the source
	Chown bool         // the user said so: it is that of what archives hold as well
	Mode  *files.Mode  // nil: as in the source
	Epoch *time.Time   // no file is newer; nil: they keep their times
	Now   time.Time    // of inline text
}

// AddTo adds the content of all items to a key. Owners and extended attributes count
// where they are kept.
func (items *Items) AddTo(key cache.Key, kept bool) error {
	for i := range items.list {
		it := &items.list[i]
		key.Add(it.base, strconv.Itoa(len(it.parents)))
		for k := range it.parents {
			p := &it.parents[k]
			key.Add(p.Rel, strconv.FormatUint(uint64(p.Stat.Mode), 8))
			if kept {
				key.Add(fmt.Sprintf("%d:%d", p.Stat.Uid, p.Stat.Gid))
			}
		}
		key.Add(strconv.FormatBool(it.dir), strconv.FormatBool(it.archive))
		h := sha256.New()
		switch {
		case it.inline != nil:
			io.WriteString(h, it.inline.Data) //nolint:errcheck // a hash never fails
		case it.file != nil:
			io.WriteString(h, it.file.SHA256) //nolint:errcheck // a hash never fails
		default:
			if err := it.walker.Digest(h, kept); err != nil {
				return err
			}
		}
		key.Add(hex.EncodeToString(h.Sum(nil)))
	}
	return nil
}

// Write puts the items below root.
func (items *Items) Write(root string, to Target) error {
	r, err := files.OpenRoot(root)
	if err != nil {
		return err
	}
	defer r.Close()
	c := files.NewCopier(r)
	defer c.Close()
	c.Chmod, c.Epoch, c.Owner, c.Alike = to.Mode, to.Epoch, to.Owner, items.mount
	if !strings.HasSuffix(to.Dest, "/") && !items.parents {
		if items.several {
			return errs.WithHint(errs.New(errs.Invalid, "when using %s with more than one source file, the destination must be a directory and end with a /", items.name), "write %s/", to.Dest)
		}
		if len(items.list) > 1 { // one pattern found several
			to.Dest += "/"
		}
	}
	for i := range items.list {
		if err := items.list[i].write(c, to, items.parents); err != nil {
			return err
		}
	}
	return c.Finish()
}

func (it *item) write(c *files.Copier, to Target, parents bool) error {
	target := to.Dest
	if parents {
		target = path.Join(to.Dest, ".") + "/"
		for i := range it.parents {
			target = path.Join(to.Dest, it.parents[i].Rel) + "/"
			if err := c.MakeMissing(&it.parents[i], target); err != nil {
				return err
			}
		}
	}
	switch {
	case it.archive:
		return it.unpack(c, to, target)
	case it.dir:
		return c.CopyAll(it.walker, target)
	}
	if strings.HasSuffix(target, "/") || c.Root.IsDir(target) {
		target = path.Join(target, it.base)
	} else if name, err := c.Root.Follow(target); err != nil {
		return err
	} else {
		target = name
	}
	switch {
	case it.inline != nil:
		return c.WriteFile(target, strings.NewReader(it.inline.Data), 0o644, to.Now)
	case it.file != nil:
		return writeDownload(c, it.file, target)
	}
	return c.CopyAll(it.walker, target)
}

func (it *item) openArchive() (*os.File, error) {
	if it.file != nil {
		return os.Open(it.file.Path)
	}
	fd, err := it.walker.Root.Open(it.walker.Entries[0].Path, unix.O_RDONLY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), it.base), nil
}

func (it *item) unpack(c *files.Copier, to Target, dest string) error {
	f, err := it.openArchive()
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	when := fi.ModTime()
	if it.file != nil {
		when = it.file.ModTime
	}
	if err := c.MakeDest(dest, when); err != nil {
		return err
	}
	own := c.Owner
	if !to.Chown {
		own = nil // the archive's own owners stand, as in Docker
	}
	return files.Extract(c.Root, dest, f, files.ExtractOptions{Owner: own, Chmod: c.Chmod, Epoch: c.Epoch})
}

// writeDownload puts a fetched file into the layer.
func writeDownload(c *files.Copier, d *source.Download, target string) error {
	f, err := os.Open(d.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	return c.WriteFile(target, f, 0o600, d.ModTime)
}

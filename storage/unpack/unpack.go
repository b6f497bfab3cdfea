// SPDX-License-Identifier: Apache-2.0

// Package unpack writes the tar archive of one layer into a directory, in one
// pass: it creates the files, digests the stream and records what is needed to
// make the identical archive again (tar-split).
//
// The archive is not trusted. Every path is resolved by the kernel below the
// directory (openat2 with RESOLVE_IN_ROOT), so neither "..", an absolute path,
// nor a symbolic or hard link that the archive itself planted leads out of it.
package unpack

import (
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/vbatts/tar-split/archive/tar"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/sparse"
	"github.com/proa-containers/proa/pkg/spec"
)

// Options say how the host limits what can be written.
type Options struct {
	UserXattr   bool // overlay's marks are user.overlay.* (inside a user namespace)
	IgnoreChown bool // all files belong to the caller: there is one id only
	NoDevices   bool // device nodes cannot be made: leave them out
	FilesOnly   bool // refuse everything but regular files and directories
	Split       io.Writer
	MaxEntries  int   // 0: 10 million
	MaxBytes    int64 // of files; 0: 1 TiB
}

// Result is what one archive amounted to.
type Result struct {
	Size       int64 // bytes of the archive
	SplitOK    bool  // Options.Split is complete
	RootMode   *os.FileMode
	UIDs, GIDs []uint32
	Unset      int // entries without their set-uid or set-gid bit: see Options.IgnoreChown
}

const (
	defaultMaxEntries = 10_000_000
	defaultMaxBytes   = 1 << 40
	maxName           = 4096 // PATH_MAX
	maxHeld           = 512 << 20
	whPrefix          = ".wh."
	whOpaque          = ".wh..wh..opq"
)

type unpacker struct {
	o       Options
	tr      *tar.Reader
	root    int
	dirName string // of the directory that dirFD is
	dirFD   int
	inherit bool   // dirFD gives its own group to what is made in it (set-gid)
	lost    uint32 // mode bits that files here are not created with
	buf     []byte
	crc     hash.Hash64
	split   *splitter
	res     Result
	bytes   int64
	looked  int64 // bytes when the disk was last looked at
	dirs    []dirTime
	held    int // bytes of their names
	uids    map[uint32]bool
	gids    map[uint32]bool
	// recordOnly leaves the disk alone.
	recordOnly bool
}

type dirTime struct {
	name string
	at   time.Time
}

// Tar unpacks r, which it reads to its end, into the existing directory dir.
// On an error the directory is in no particular state.
func Tar(dir string, r io.Reader, o Options) (Result, error) {
	if o.MaxEntries == 0 {
		o.MaxEntries = defaultMaxEntries
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = defaultMaxBytes
	}
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Result{}, fmt.Errorf("cannot open %s: %w", dir, err)
	}
	defer unix.Close(root)
	count := &counter{r: r}
	u := &unpacker{
		o: o, root: root, dirFD: -1, tr: tar.NewReader(count), crc: crc64.New(crcTable),
		buf: make([]byte, 128<<10), uids: map[uint32]bool{}, gids: map[uint32]bool{},
	}
	u.lost = lostBits(dir)
	defer u.forgetDir()
	if o.Split != nil {
		u.tr.RawAccounting = true
		u.split = newSplitter(o.Split)
	}
	if err := u.all(); err != nil {
		return Result{}, err
	}
	if err := u.drain(count); err != nil {
		return Result{}, err
	}
	if err := u.setDirTimes(); err != nil {
		return Result{}, err
	}
	u.res.Size = count.n
	u.res.UIDs, u.res.GIDs = keys(u.uids), keys(u.gids)
	if u.split != nil {
		ok, err := u.split.finish()
		if err != nil {
			return Result{}, err
		}
		u.res.SplitOK = ok
	}
	return u.res, nil
}

// Record only reads an archive: it writes tar-split's lines, and says how long
// it is.
func Record(r io.Reader, split io.Writer) (Result, error) {
	count := &counter{r: r}
	u := &unpacker{
		o: Options{MaxEntries: defaultMaxEntries, MaxBytes: defaultMaxBytes}, recordOnly: true, dirFD: -1,
		tr: tar.NewReader(count), crc: crc64.New(crcTable), buf: make([]byte, 128<<10),
		uids: map[uint32]bool{}, gids: map[uint32]bool{}, split: newSplitter(split),
	}
	u.tr.RawAccounting = true
	if err := u.all(); err != nil {
		return Result{}, err
	}
	if err := u.drain(count); err != nil {
		return Result{}, err
	}
	ok, err := u.split.finish()
	return Result{Size: count.n, SplitOK: ok, UIDs: keys(u.uids), GIDs: keys(u.gids)}, err
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func keys(m map[uint32]bool) []uint32 {
	var out []uint32
	for k := range m {
		out = append(out, k)
	}
	return out
}

func (u *unpacker) all() error {
	for n := 0; ; n++ {
		h, err := u.tr.Next()
		if errors.Is(err, io.EOF) {
			u.split.segment(u.tr)
			return nil
		}
		if err != nil {
			if errs.KindOf(err) == errs.Internal && (errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) || errors.Is(err, io.ErrUnexpectedEOF)) {
				return errs.New(errs.Corrupt, "layer is not a valid tar archive: %w", err)
			}
			return err
		}
		if n >= u.o.MaxEntries {
			return errs.New(errs.Invalid, "layer has more than %d entries", u.o.MaxEntries)
		}
		if n >= modestEntries && n%lookEntries == 0 {
			if err := u.reserve(); err != nil {
				return err
			}
		}
		u.split.segment(u.tr)
		if err := u.entry(h); err != nil {
			if k := errs.KindOf(err); k == errs.Unavailable || k == errs.Canceled {
				return err // the stream's, not the entry's
			}
			return fmt.Errorf("cannot unpack %q: %w", shown(h.Name), err)
		}
		u.split.segment(u.tr)
	}
}

// shown is a name as a message can hold it.
func shown(name string) string {
	if len(name) <= 200 {
		return name
	}
	return name[:150] + "..." + name[len(name)-40:]
}

// drain reads what follows the end mark: tar pads, and the digest covers it.
func (u *unpacker) drain(r io.Reader) error {
	for {
		n, err := r.Read(u.buf)
		if n > 0 {
			u.split.padding(u.buf[:n])
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// entry writes one entry and records it.
func (u *unpacker) entry(h *tar.Header) error {
	if len(h.Name) > maxName {
		return errs.New(errs.Invalid, "its name has %d bytes; at most %d are possible", len(h.Name), maxName)
	}
	name := path.Clean("/" + h.Name)[1:]
	base := path.Base(name)
	u.crc.Reset()
	if err := spec.CheckOwner(h.Uid, h.Gid); err != nil {
		return err
	}
	if u.o.IgnoreChown {
		u.unset(h)
	}
	var err error
	switch {
	case u.recordOnly:
		u.uids[uint32(h.Uid)], u.gids[uint32(h.Gid)] = true, true
	case h.Typeflag == tar.TypeXGlobalHeader:
	case name == "":
		err = u.rootEntry(h)
	case base == whOpaque:
		err = u.opaque(path.Dir(name))
	case strings.HasPrefix(base, whPrefix+whPrefix):
		// aufs kept its own notes under such names
	case strings.HasPrefix(base, whPrefix):
		err = u.whiteout(path.Dir(name), base[len(whPrefix):])
	default:
		err = u.create(name, h)
	}
	if err != nil {
		return err
	}
	if _, err := u.copyRest(-1); err != nil {
		return err
	}
	u.split.file(h, u.crc)
	return nil
}

// copyRest reads what is left of the entry's content, into the file fd unless
// negative: then it is the content of something else, which only tar-split keeps.
func (u *unpacker) copyRest(fd int) (int64, error) {
	var total int64
	to := sparse.NewWriter(fd)
	for {
		n, err := io.ReadFull(u.tr, u.buf)
		if n > 0 {
			total += int64(n)
			if u.bytes += int64(n); u.bytes > u.o.MaxBytes {
				return total, errs.New(errs.Invalid, "layer has more than %d bytes of files", u.o.MaxBytes)
			}
			if u.split != nil {
				u.crc.Write(u.buf[:n])
				if fd < 0 && !u.recordOnly {
					u.split.spell(u.buf[:n])
				}
			}
			if fd >= 0 {
				if u.bytes >= modestBytes && u.bytes-u.looked >= lookBytes {
					u.looked = u.bytes
					if rerr := u.reserve(); rerr != nil {
						return total, rerr
					}
				}
				if _, werr := to.Write(u.buf[:n]); werr != nil {
					return total, werr
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return total, to.Finish()
		}
		if errors.Is(err, io.ErrUnexpectedEOF) && n > 0 && n < len(u.buf) {
			// Either the end of this file or of the whole stream: the next
			// read tells which.
			continue
		}
		if err != nil {
			return total, err
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package sparse

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Copier copies the contents of files, one at a time. Their holes stay holes. The zero value is
// ready to use.
type Copier struct {
	noClones bool   // the file systems share no blocks: asking again is in vain
	buf      []byte // for content that the kernel does not copy
}

const (
	bufferSize = 128 << 10
	perCall    = 1 << 30
	sector     = 512 // the unit of st_blocks, on every file system
)

// Content fills the new and empty file to with the content of from, whose state is st:
// with the very blocks of from where the file systems can, else in the kernel, else
// through a buffer.
func (c *Copier) Content(to, from int, st *unix.Stat_t) error {
	if !c.noClones {
		if unix.IoctlFileClone(to, from) == nil {
			return nil
		}
		c.noClones = true
	}
	// Only a file with fewer blocks than bytes may have holes: to look for some costs
	// two calls.
	if st.Blocks*sector < st.Size {
		if done, err := c.parts(to, from); done || err != nil {
			return err
		}
	}
	return c.whole(to, from, st.Size)
}

// parts copies what lies between the holes. It has done nothing where the file system
// does not tell where they are.
func (c *Copier) parts(to, from int) (done bool, err error) {
	var now unix.Stat_t // the file may have another size since it was listed
	if err := unix.Fstat(from, &now); err != nil {
		return false, os.NewSyscallError("fstat", err)
	}
	size := now.Size
	for at := int64(0); ; {
		data, err := unix.Seek(from, at, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO): // only a hole is left
			return true, truncate(to, size)
		case err != nil && at == 0:
			return false, nil
		case err != nil:
			return false, os.NewSyscallError("lseek", err)
		}
		hole, err := unix.Seek(from, data, unix.SEEK_HOLE)
		if err != nil {
			return false, os.NewSyscallError("lseek", err)
		}
		if data == 0 && hole >= size { // all of it is data, but compressed
			_, err := unix.Seek(from, 0, io.SeekStart)
			return false, os.NewSyscallError("lseek", err)
		}
		if err := c.part(to, from, data, hole); err != nil {
			return false, err
		}
		at = hole
	}
}

// truncate gives a file its size, so that it may end with a hole.
func truncate(fd int, size int64) error {
	return os.NewSyscallError("ftruncate", unix.Ftruncate(fd, size))
}

// part copies the bytes from at up to end.
func (c *Copier) part(to, from int, at, end int64) error {
	source, dest := at, at // the call moves both on
	for source < end {
		n, err := unix.CopyFileRange(from, &source, to, &dest, int(min(end-source, perCall)), 0)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return c.partThrough(to, from, source, end)
		case n == 0: // it became shorter meanwhile
			return nil
		}
	}
	return nil
}

func (c *Copier) partThrough(to, from int, at, end int64) error {
	buf := c.buffer()
	for at < end {
		n, err := unix.Pread(from, buf[:min(int64(len(buf)), end-at)], at)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return os.NewSyscallError("read", err)
		}
		for p := buf[:n]; len(p) > 0; {
			m, err := unix.Pwrite(to, p, at)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return os.NewSyscallError("write", err)
			}
			m = max(m, 0)
			p, at = p[m:], at+int64(m)
		}
	}
	return nil
}

// whole copies everything from where both files are.
func (c *Copier) whole(to, from int, size int64) error {
	for done := int64(0); ; {
		n, err := unix.CopyFileRange(from, nil, to, nil, perCall, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil && done == 0:
			return c.through(to, from)
		case err != nil:
			return os.NewSyscallError("copy_file_range", err)
		}
		done += int64(n)
		// A file of the size 0 may still have content: one of /proc or /sys, to
		// which this call says that there is none.
		if n == 0 && done == 0 {
			return c.through(to, from)
		}
		// Known to be complete: no need to ask for the end.
		if n == 0 || done == size {
			return nil
		}
	}
}

// through copies between file systems that cannot among themselves.
func (c *Copier) through(to, from int) error {
	buf := c.buffer()
	for {
		n, err := Read(from, buf)
		if err != nil || n == 0 {
			return os.NewSyscallError("read", err)
		}
		for p := buf[:n]; len(p) > 0; {
			m, err := unix.Write(to, p)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return os.NewSyscallError("write", err)
			}
			p = p[max(m, 0):]
		}
	}
}

func (c *Copier) buffer() []byte {
	if c.buf == nil {
		c.buf = make([]byte, bufferSize)
	}
	return c.buf
}

// Read reads what a signal does not interrupt; 0 is the end.
func Read(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Read(fd, p)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

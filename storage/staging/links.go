// SPDX-License-Identifier: Apache-2.0

package staging

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"go.podman.io/storage"
	drivers "go.podman.io/storage/drivers"
	"go.podman.io/storage/pkg/archive"
	"golang.org/x/sys/unix"
)

// Links makes the content of a layer once more, of hard links to its files: nothing
// ever writes to a layer.
type Links struct {
	Src   string // the layer's files
	Split string // the description of its archive
	Layer *storage.Layer
}

// Close implements drivers.Differ.
func (d *Links) Close() error { return nil }

// ApplyDiff implements drivers.Differ.
func (d *Links) ApplyDiff(dest string, _ *archive.TarOptions, do *drivers.DifferOptions) (drivers.DriverWithDifferOutput, error) {
	out := drivers.DriverWithDifferOutput{Differ: d, Target: dest}
	split, err := copySplit(d.Split, do.StagingDirectory)
	if err != nil {
		return out, err
	}
	if err := linkTree(d.Src, dest); err != nil {
		split.Close()
		return out, err
	}
	out.Size, out.TarSplit, out.UIDs, out.GIDs = d.Layer.UncompressedSize, split, d.Layer.UIDs, d.Layer.GIDs
	return out, nil
}

// errOwnRoot: the archive has an entry for the root directory, whose mode the
// links alone do not tell.
var errOwnRoot = errors.New("the layer has a root directory of its own")

// copySplit unpacks the description of a layer's archive into a file of the
// staging directory.
func copySplit(file, dir string) (_ *os.File, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	out, err := openUnnamed(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			out.Close()
		}
	}()
	w := bufio.NewWriter(out)
	dec := json.NewDecoder(io.TeeReader(z, w))
	for {
		var e struct {
			Type int    `json:"type"`
			Name string `json:"name"`
		}
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if e.Type == 1 && e.Name != "" && path.Clean("/"+e.Name) == "/" {
			return nil, errOwnRoot
		}
	}
	return out, w.Flush()
}

// linkTree fills dest, which exists, with the directories of src and hard links
// to everything else in it.
func linkTree(src, dest string) error {
	type dirTimes struct {
		path string
		st   unix.Stat_t
	}
	var dirs []dirTimes
	err := filepath.WalkDir(src, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := dest + strings.TrimPrefix(p, src)
		if !e.IsDir() {
			return unix.Linkat(unix.AT_FDCWD, p, unix.AT_FDCWD, to, 0)
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		if p != src {
			if err := os.Mkdir(to, 0o700); err != nil {
				return err
			}
			if err := errors.Join(unix.Lchown(to, int(st.Uid), int(st.Gid)), unix.Chmod(to, st.Mode&0o7777), copyDirAttributes(p, to)); err != nil {
				return err
			}
		}
		dirs = append(dirs, dirTimes{to, st})
		return nil
	})
	if err != nil {
		return err
	}
	for _, d := range dirs {
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, d.path, []unix.Timespec{d.st.Atim, d.st.Mtim}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
	}
	return nil
}

// copyDirAttributes carries over what a directory has: marks of overlay, access
// lists, the user's own.
func copyDirAttributes(from, to string) error {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(from, buf)
	if errors.Is(err, unix.ENOTSUP) || n == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	val := make([]byte, 64<<10)
	for _, name := range strings.Split(strings.TrimRight(string(buf[:n]), "\x00"), "\x00") {
		if strings.HasPrefix(name, "security.") && name != "security.capability" {
			continue // the host's labels
		}
		n, err := unix.Lgetxattr(from, name, val)
		if err != nil {
			return err
		}
		if err := unix.Lsetxattr(to, name, val[:n], 0); err != nil {
			return err
		}
	}
	return nil
}

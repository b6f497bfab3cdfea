// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/monitor"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// image makes a root file system with files below /data; a second name makes
// the first one a hard link to it.
func image(t *testing.T, files ...[2]string) *os.File {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		p := filepath.Join(dir, "data", f[0])
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		if f[1] != "" {
			must(t, os.Link(filepath.Join(dir, "data", f[1]), p))
			continue
		}
		must(t, os.WriteFile(p, []byte("image"), 0o600))
	}
	root, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return root
}

func newVolume(t *testing.T) monitor.VolumeMount {
	t.Helper()
	dir := t.TempDir()
	v := monitor.VolumeMount{Dir: dir, HostPath: filepath.Join(dir, "_data"), Target: "/data", CopyUp: true}
	must(t, os.Mkdir(v.HostPath, 0o755))
	return v
}

func prepare(t *testing.T, root *os.File, v monitor.VolumeMount) {
	t.Helper()
	must(t, Prepare(root, []monitor.VolumeMount{v}, os.Getuid(), os.Getgid()))
	if ents, err := os.ReadDir(v.Dir); err != nil || len(ents) != 1 {
		t.Errorf("beside the volume: %v %v", ents, err)
	}
}

func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	must(t, filepath.Walk(dir, func(p string, fi os.FileInfo, err error) error {
		if err == nil && fi.Mode().IsRegular() {
			text, rerr := os.ReadFile(p)
			rel, _ := filepath.Rel(dir, p)
			got[rel], err = string(text), rerr
		}
		return err
	}))
	return got
}

// exchange renames each directory dN as soon as it appears in dir, and leaves a
// link to host, as another container could. It returns how many it got once
// stop is closed.
func exchange(dir, host string, n int, stop chan struct{}) int {
	swapped := make([]bool, n)
	count, last := 0, false
	for {
		for i := range n {
			d := filepath.Join(dir, fmt.Sprint("d", i))
			if _, err := os.Lstat(filepath.Join(d, "key")); err != nil || swapped[i] {
				continue
			}
			if os.Rename(d, filepath.Join(dir, fmt.Sprint("m", i))) == nil && os.Symlink(host, d) == nil {
				swapped[i] = true
				count++
			}
		}
		if last {
			return count
		}
		select {
		case <-stop:
			last = true
		default:
		}
	}
}

func TestCopyUpBesideAnExchange(t *testing.T) {
	const n = 200
	var files [][2]string
	for i := range n {
		d := fmt.Sprintf("d%d/key", i)
		files = append(files, [2]string{d}, [2]string{fmt.Sprintf("e%d/leak", i), d})
	}
	root, host, v := image(t, files...), t.TempDir(), newVolume(t)
	must(t, os.WriteFile(filepath.Join(host, "key"), []byte("host"), 0o600))
	stop, done := make(chan struct{}), make(chan int)
	go func() { done <- exchange(v.HostPath, host, n, stop) }()
	err := Prepare(root, []monitor.VolumeMount{v}, 0, 0)
	close(stop)
	if swapped := <-done; swapped == 0 {
		t.Error("no directory was exchanged: this tests nothing")
	}
	must(t, err)
	for i := range n {
		p := filepath.Join(v.HostPath, fmt.Sprintf("e%d/leak", i))
		if text, err := os.ReadFile(p); err != nil || string(text) != "image" {
			t.Fatalf("%s: %q %v", p, text, err)
		}
	}
	if ents, err := os.ReadDir(host); err != nil || len(ents) != 1 {
		t.Error("something was made on the host:", ents, err)
	}
}

func TestCopyUpKeepsLinksAndMeta(t *testing.T) {
	root, v := image(t, [2]string{"a"}, [2]string{"deep/er/b", "a"}, [2]string{"c"}), newVolume(t)
	src := filepath.Join(root.Name(), "data")
	must(t, os.Chmod(src, 0o750|os.ModeSticky))
	when := time.Unix(1e9, 0)
	must(t, os.Chtimes(src, when, when))
	prepare(t, root, v)
	stat := func(name string) os.FileInfo {
		st, err := os.Stat(filepath.Join(v.HostPath, name))
		must(t, err)
		return st
	}
	if !os.SameFile(stat("a"), stat("deep/er/b")) || os.SameFile(stat("a"), stat("c")) {
		t.Error("hard links are not those of the image")
	}
	if st := stat(""); st.Mode() != os.ModeDir|os.ModeSticky|0o750 || !st.ModTime().Equal(when) {
		t.Error(st.Mode(), st.ModTime())
	}
}

// A monitor was killed in the middle of a copy-up.
func TestInterrupted(t *testing.T) {
	root := image(t, [2]string{"sub/a"}, [2]string{"b"}, [2]string{"c"})
	for name, test := range map[string]struct {
		left, want map[string]string
		noCopy     bool
	}{
		"while it was copied": {
			left: map[string]string{"copy-up/partial/b": "ima"},
			want: map[string]string{"sub/a": "image", "b": "image", "c": "image"},
		},
		"while it was moved": {
			left: map[string]string{"_data/b": "changed meanwhile", "copy-up/whole/sub/a": "old image",
				"copy-up/whole/b": "old image"},
			want: map[string]string{"sub/a": "old image", "b": "changed meanwhile"},
		},
		"and somebody mounts the volume who wants no copy": {
			left:   map[string]string{"_data/b": "b", "copy-up/whole/sub/a": "old image"},
			want:   map[string]string{"sub/a": "old image", "b": "b"},
			noCopy: true,
		},
		"and the volume is in use": {
			left: map[string]string{"_data/own": "own", "copy-up/partial/b": "ima"},
			want: map[string]string{"own": "own"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVolume(t)
			for p, text := range test.left {
				p = filepath.Join(v.Dir, p)
				must(t, os.MkdirAll(filepath.Dir(p), 0o755))
				must(t, os.WriteFile(p, []byte(text), 0o600))
			}
			whole := filepath.Join(v.Dir, "copy-up/whole")
			moved := os.Chmod(whole, 0o701) == nil
			v.CopyUp = !test.noCopy
			prepare(t, root, v)
			if got := tree(t, v.HostPath); !reflect.DeepEqual(got, test.want) {
				t.Error(got)
			}
			if st, err := os.Stat(v.HostPath); err != nil || moved && st.Mode().Perm() != 0o701 {
				t.Error(st, err)
			}
		})
	}
}

// A container that holds a lock on its volume's root keeps nobody waiting.
func TestContainerHoldsALock(t *testing.T) {
	root, v := image(t, [2]string{"a"}), newVolume(t)
	f, err := os.Open(v.HostPath)
	must(t, err)
	defer f.Close()
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	done := make(chan error, 1)
	go func() { done <- Prepare(root, []monitor.VolumeMount{v}, 0, 0) }()
	select {
	case err := <-done:
		must(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("waits for the container's lock")
	}
}

func TestNothingToCopy(t *testing.T) {
	prepare(t, image(t), newVolume(t)) // no such directory in the image
	v := newVolume(t)
	v.Target = "/data/x"
	prepare(t, image(t, [2]string{"x"}), v) // a file
	if got := tree(t, v.HostPath); len(got) != 0 {
		t.Error(got)
	}
}

func TestChown(t *testing.T) {
	v := newVolume(t)
	v.CopyUp, v.Chown = false, true
	host := t.TempDir()
	must(t, os.Symlink(host, filepath.Join(v.HostPath, "link")))
	must(t, os.MkdirAll(filepath.Join(v.HostPath, "d/e"), 0o700))
	prepare(t, image(t), v)
	if os.Getuid() != 0 {
		return // only root sees owners change
	}
	must(t, Prepare(image(t), []monitor.VolumeMount{v}, 7, 8))
	// What changes hands later is the user's business, until another user comes.
	must(t, os.Lchown(filepath.Join(v.HostPath, "d"), 9, 9))
	must(t, Prepare(image(t), []monitor.VolumeMount{v}, 7, 8))
	for p, want := range map[string]uint32{"": 7, "link": 7, "d": 9, "d/e": 7, host: 0} {
		if !filepath.IsAbs(p) {
			p = filepath.Join(v.HostPath, p)
		}
		var st unix.Stat_t
		must(t, unix.Lstat(p, &st))
		if st.Uid != want {
			t.Errorf("%s belongs to %d", p, st.Uid)
		}
	}
}

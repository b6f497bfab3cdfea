// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"
	"time"
)

const image = "bench"

type bench struct {
	dir, strace  string
	n            int
	stores       int // made by freshRatio
	proa, podman peer
	results      []result
}

// peer is a program that is measured.
type peer struct {
	name   string
	argv   []string
	remove []string // how containers are removed without waiting for them
}

type result struct {
	row, target, measured string
	pass                  bool // also true of what has no target
}

func (p peer) cmd(args ...string) *exec.Cmd {
	argv := append(append([]string{}, p.argv...), args...)
	return exec.Command(argv[0], argv[1:]...)
}

// do runs a command that must succeed and returns its standard output.
func (p peer) do(args ...string) (string, error) {
	cmd := p.cmd(args...)
	var out, errb bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errb
	// A container in the background may keep an inherited stream open.
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", p.name, strings.Join(args, " "), err, bytes.TrimSpace(errb.Bytes()))
	}
	return strings.TrimSpace(out.String()), nil
}

// once times one command.
func (p peer) once(args ...string) (time.Duration, error) {
	cmd := p.cmd(args...)
	var errb bytes.Buffer
	cmd.Stderr = &errb
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s %s: %w: %s", p.name, strings.Join(args, " "), err, bytes.TrimSpace(errb.Bytes()))
	}
	return time.Since(began), nil
}

// timed is one column of an alternating measurement.
type timed struct {
	peer peer
	args []string
	// before is what is done ahead of each run without being timed; nil: nothing.
	before func() error
}

// alternate runs A B C A B C ... and returns each one's median.
func (b *bench) alternate(cols ...timed) ([]time.Duration, error) { return alternate(b.n, cols...) }

// few is the number of repetitions of what takes long.
func (b *bench) few() int { return max(1, min(b.n, 7)) }

func alternate(rounds int, cols ...timed) ([]time.Duration, error) {
	return medians(rounds, cols, func(c timed) (time.Duration, error) { return c.peer.once(c.args...) })
}

// medians measures each column in turn, rounds times and once more before, to warm up.
func medians(rounds int, cols []timed, measure func(timed) (time.Duration, error)) ([]time.Duration, error) {
	samples := make([][]time.Duration, len(cols))
	for i := -1; i < rounds; i++ {
		for c, col := range cols {
			if col.before != nil {
				if err := col.before(); err != nil {
					return nil, err
				}
			}
			d, err := measure(col)
			if err != nil {
				return nil, err
			}
			if i >= 0 {
				samples[c] = append(samples[c], d)
			}
		}
	}
	out := make([]time.Duration, len(cols))
	for c := range cols {
		out[c] = median(samples[c])
	}
	return out, nil
}

func median[T int | float64 | time.Duration](s []T) T {
	sort.Slice(s, func(i, j int) bool { return s[i] < s[j] })
	n := len(s)
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

func (b *bench) report(row, target, measured string, pass bool) {
	b.results = append(b.results, result{row, target, measured, pass})
}

func (b *bench) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tTARGET\tMEASURED\t")
	missed := 0
	for _, r := range b.results {
		verdict := "pass"
		switch {
		case !r.pass:
			verdict, missed = "MISS", missed+1
		case r.target == "":
			verdict = ""
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.row, r.target, r.measured, verdict)
	}
	w.Flush()
	fmt.Printf("%d rows, %d missed; medians of %d, of %d where a run takes a second or more, alternating\n", len(b.results), missed, b.n, b.few())
}

// prepare makes one image, of busybox and iperf3, and gives it to everybody.
func (b *bench) prepare() error {
	rootfs := filepath.Join(b.dir, "rootfs")
	if err := makeRootfs(rootfs); err != nil {
		return err
	}
	tar := b.rootfsArchive()
	if out, err := exec.Command("tar", "-C", rootfs, "-cf", tar, ".").CombinedOutput(); err != nil {
		return fmt.Errorf("tar: %w: %s", err, out)
	}
	for _, p := range []peer{b.podman, b.proa} {
		if _, err := p.do("import", tar, image); err != nil {
			return err
		}
	}
	return b.makeBundle(rootfs)
}

func (b *bench) rootfsArchive() string { return filepath.Join(b.dir, "rootfs.tar") }

func makeRootfs(dir string) error {
	for _, d := range []string{"bin", "etc", "proc", "sys", "dev", "tmp", "lib", "lib64", "usr/bin"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\n"), 0o644); err != nil {
		return err
	}
	if err := copyProgram(dir, "busybox", "bin/busybox"); err != nil {
		return err
	}
	for _, a := range []string{"sh", "true", "sleep", "cat", "httpd", "echo"} {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", a)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return copyProgram(dir, "iperf3", "usr/bin/iperf3")
}

var libPath = regexp.MustCompile(`/[^ ]+`)

// copyProgram copies a program and the shared libraries that ldd names.
func copyProgram(dir, name, to string) error {
	src, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	if err := copyFile(src, filepath.Join(dir, to)); err != nil {
		return err
	}
	out, err := exec.Command("ldd", src).Output()
	if err != nil {
		return nil // static
	}
	for line := range strings.Lines(string(out)) {
		if lib := libPath.FindString(line); lib != "" {
			if err := copyFile(lib, filepath.Join(dir, lib)); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyFile(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// makeBundle is what bare crun runs.
func (b *bench) makeBundle(rootfs string) error {
	bundle := b.bundle()
	if err := os.MkdirAll(bundle, 0o755); err != nil {
		return err
	}
	spec := exec.Command("crun", "spec", "--rootless")
	spec.Dir = bundle
	if out, err := spec.CombinedOutput(); err != nil {
		return fmt.Errorf("crun spec: %w: %s", err, out)
	}
	config := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	data = bytes.Replace(data, []byte(`"terminal": true`), []byte(`"terminal": false`), 1)
	data = regexp.MustCompile(`"args": \[\s*"sh"\s*\]`).ReplaceAll(data, []byte(`"args": ["true"]`))
	data = bytes.Replace(data, []byte(`"path": "rootfs"`), []byte(`"path": "`+rootfs+`"`), 1)
	return os.WriteFile(config, data, 0o644)
}

func (b *bench) bundle() string { return filepath.Join(b.dir, "bundle") }

func (b *bench) crunPeer() peer {
	return peer{name: "crun", argv: []string{"crun", "--root", filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "crun-bench")}}
}

func (b *bench) crun() timed {
	return timed{peer: b.crunPeer(), args: []string{"run", "--bundle", b.bundle(), "bench"}}
}

// crunInBackground starts a container that sleeps, with nothing but crun.
func (b *bench) crunInBackground(id string) (stop func(), err error) {
	dir := filepath.Join(b.dir, "bundle-sleep")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(b.bundle(), "config.json"))
	if err != nil {
		return nil, err
	}
	data = bytes.Replace(data, []byte(`"args": ["true"]`), []byte(`"args": ["sleep", "1000"]`), 1)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644); err != nil {
		return nil, err
	}
	p := b.crunPeer()
	if err := p.cmd("run", "--detach", "--bundle", dir, id).Run(); err != nil { // no pipes: the container would keep them
		return nil, fmt.Errorf("crun run --detach: %w", err)
	}
	return func() { p.do("delete", "--force", id) }, nil
}

func (b *bench) removeContainers() {
	for _, p := range []peer{b.proa, b.podman} {
		ids, err := p.do("ps", "-aq")
		if err != nil || ids == "" {
			continue
		}
		for chunk := strings.Fields(ids); len(chunk) > 0; {
			k := min(len(chunk), 100)
			p.do(append(slices.Clone(p.remove), chunk[:k]...)...)
			chunk = chunk[k:]
		}
	}
}

func (b *bench) clean() {
	b.removeContainers()
	b.podman.do("system", "reset", "-f")
	b.proa.do("unshare", "rm", "-rf", filepath.Join(b.dir, "proa"), filepath.Join(b.dir, "stores"))
}

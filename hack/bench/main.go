// SPDX-License-Identifier: Apache-2.0

// Command bench measures Proa beside podman and crun and prints one table:
// ratios of medians taken alternately in one run, because absolute times of a
// shared machine say little. hack/bench/run sets it up.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

func main() {
	b := &bench{}
	flag.StringVar(&b.dir, "dir", "", "working directory")
	flag.IntVar(&b.n, "n", 20, "repetitions")
	rows := flag.String("rows", ".", "regular expression over the rows' names")
	flag.StringVar(&b.strace, "strace-fifo", "", "prefix of the files through which hack/bench/run traces as root")
	clean := flag.Bool("clean", false, "only remove what an earlier run left")
	flag.Parse()
	run := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "podman-bench")
	b.podman = peer{name: "podman", remove: []string{"rm", "-f", "-t", "0"}, argv: podmanArgs(filepath.Join(b.dir, "podman"), run)}
	b.proa = peer{name: "proa", remove: []string{"rm", "-f"}, argv: []string{"proa"}}
	os.Setenv("PROA_DATA_DIR", filepath.Join(b.dir, "proa"))
	os.Setenv("PROA_RUN_DIR", filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "proa-bench"))
	if *clean {
		b.clean()
		return
	}
	if err := measure(b, *rows); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// podmanArgs make podman use a store and a run-time directory of its own.
func podmanArgs(root, run string) []string {
	return []string{"podman", "--root", root, "--runroot", run, "--tmpdir", run + "-tmp",
		"--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", "crun", "--storage-driver", "overlay"}
}

func measure(b *bench, pattern string) error {
	want, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	if err := b.prepare(); err != nil {
		return err
	}
	for _, r := range rows {
		if !want.MatchString(r.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s ...\n", r.name)
		if err := r.measure(b, r.name); err != nil {
			b.report(r.name, "", fmt.Sprintf("error: %v", err), false)
		}
		b.removeContainers()
	}
	b.print()
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package build

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func FuzzMode(f *testing.F) {
	for _, s := range []string{"", "755", "07777", "u=rwX,go=rX", "a+s", "=", "+", "u", "99999999999", "g-w,o=t"} {
		f.Add(s, uint32(0o644))
	}
	f.Fuzz(func(t *testing.T, s string, mode uint32) {
		m, err := parseMode(s)
		if err != nil || m == nil {
			return
		}
		for _, dir := range []bool{false, true} {
			if got := m.apply(mode&0o7777, dir); got > 0o7777 {
				t.Fatalf("%q makes mode %o", s, got)
			}
		}
	})
}

func FuzzEntryName(f *testing.F) {
	for _, s := range []string{"a/b", "/a", "../a", "a/../../b", "./.", "a//b/", "..", "a/..b", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := entryName(s)
		if err != nil {
			return
		}
		if strings.HasPrefix(name, "/") || name == ".." || strings.HasPrefix(name, "../") || strings.Contains(name, "/../") || strings.HasSuffix(name, "/..") {
			t.Fatalf("%q becomes %q, which leads out", s, name)
		}
	})
}

func FuzzExposedPorts(f *testing.F) {
	for _, s := range []string{"80", "80-82/udp", "1-65535", "70000", "9-1", "/", "80/sctp", "-", "1-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ports, err := exposedPorts(s)
		if err == nil && (len(ports) == 0 || len(ports) > 65536) {
			t.Fatalf("%q gives %d ports", s, len(ports))
		}
	})
}

// A plan never fails in another way than with an error, and what it keeps only
// waits for earlier stages.
func FuzzPlan(f *testing.F) {
	for _, s := range []string{
		"FROM a AS b\nFROM b\nCOPY --from=0 / /\n", "ARG A=b\nFROM $A\nRUN <<E\nx\nE\n", "FROM scratch\nCOPY --from=0 / /\n",
		"# syntax=x\n# escape=`\nFROM a\nRUN --mount=type=cache,target=/c true\n", "# check=error=true\nfrom a as B\nCMD x\nCMD y\n",
		"FROM --platform=$BUILDPLATFORM a\nONBUILD RUN x\nHEALTHCHECK NONE\n", "FROM \"\"\n", "FROM a\nCOPY <<a <<b /\na\nb\n",
	} {
		f.Add([]byte(s), "")
	}
	f.Fuzz(func(t *testing.T, text []byte, target string) {
		p, err := parsePlan(text, "Dockerfile", &Options{Target: target}, "")
		if err != nil {
			return
		}
		for _, st := range p.stages {
			for _, d := range st.deps {
				if d.index >= st.index {
					t.Fatalf("stage %d waits for stage %d", st.index, d.index)
				}
			}
		}
	})
}

// Whatever an archive says, nothing appears outside the directory that it is
// unpacked to.
func FuzzUntar(f *testing.F) {
	f.Add([]byte("not an archive"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		top := t.TempDir()
		in := filepath.Join(top, "in")
		if err := os.Mkdir(in, 0o700); err != nil {
			t.Fatal(err)
		}
		r, err := openRoot(in)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		_ = extractTar(r, "/", bytes.NewReader(archive), extractOptions{Owner: &owner{os.Getuid(), os.Getgid()}})
		if ents, err := os.ReadDir(top); err != nil || len(ents) != 1 {
			t.Fatalf("the archive reached the directory above: %v %v", ents, err)
		}
	})
}

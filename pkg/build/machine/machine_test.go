// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"debug/elf"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

// arm64Head begins like a program for arm64.
func arm64Head() []byte {
	head := make([]byte, 64)
	copy(head, "\x7fELF\x02\x01\x01")
	head[16], head[18] = 2, byte(elf.EM_AARCH64)
	return head
}

func TestElfMachine(t *testing.T) {
	if m, ok := elfMachine(arm64Head()); !ok || m != elf.EM_AARCH64 {
		t.Errorf("arm64: %v %v", m, ok)
	}
	big := arm64Head()
	big[elf.EI_DATA], big[18], big[19] = byte(elf.ELFDATA2MSB), 0, byte(elf.EM_S390)
	if m, ok := elfMachine(big); !ok || m != elf.EM_S390 {
		t.Errorf("s390x: %v %v", m, ok)
	}
	for _, bad := range []string{"", "#!/bin/sh\n", "\x7fELF"} {
		if _, ok := elfMachine([]byte(bad)); ok {
			t.Errorf("%q is a program", bad)
		}
	}
}

// The entries are as the kernel shows what Debian's qemu-user-binfmt registers.
func TestEmulated(t *testing.T) {
	const arm64 = "interpreter /usr/bin/qemu-aarch64\nflags: PF\noffset 0\n" +
		"magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n"
	for _, tc := range []struct {
		name, entry string
		want        bool
	}{
		{"none", "", false},
		{"enabled", "enabled\n" + arm64, true},
		{"disabled", "disabled\n" + arm64, false},
		{"another", "enabled\ninterpreter /x\noffset 0\nmagic 4d5a\n", false},
		{"by extension", "enabled\ninterpreter /x\nextension .exe\n", false},
		{"longer than the program", "enabled\noffset 60\nmagic 0000000000\n", false},
		{"masks do not fit", "enabled\noffset 0\nmagic 7f45\nmask ff\n", false},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "qemu"), []byte(tc.entry), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := emulated(dir, arm64Head()); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestRefuses(t *testing.T) {
	own := elfHead(machines[runtime.GOARCH][0])
	if Refuses(own) || Refuses([]byte("#!/bin/sh\n")) || Refuses(nil) {
		t.Error("a program of this machine, a script or nothing is refused")
	}
	nobody := elfHead(elf.EM_68K)
	if !Refuses(nobody) && !emulated(binfmtDir, nobody) {
		t.Error("a program that nothing here runs is not refused")
	}
}

func TestPlatforms(t *testing.T) {
	all := Platforms()
	if all[0] != "linux/"+runtime.GOARCH || slices.Contains(all[1:], all[0]) {
		t.Errorf("the platforms are %v", all)
	}
}

// SPDX-License-Identifier: Apache-2.0

package images

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// A tree is made once, as root, below the cache; its layer is packed from it.

// busyboxTree is a root file system of Debian's static busybox with a link for
// each applet.
func busyboxTree(dir string) error {
	out, err := exec.Command("busybox", "--list-full").Output()
	if err != nil {
		return fmt.Errorf("cannot list busybox's applets (package busybox-static): %w", err)
	}
	for _, d := range []string{"bin", "etc", "home", "proc", "root", "run", "sbin", "sys", "usr/bin", "usr/sbin", "usr/lib", "lib", "var/log", "dev", "mnt", "opt", "srv"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	for _, d := range []string{"tmp", "var/tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
		if err := os.Chmod(filepath.Join(dir, d), 0o777|os.ModeSticky); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(dir, "root"), 0o700); err != nil {
		return err
	}
	prog, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	data, err := os.ReadFile(prog)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/busybox"), data, 0o755); err != nil {
		return err
	}
	for _, applet := range strings.Fields(string(out)) {
		p := filepath.Join(dir, applet)
		if applet == "bin/busybox" || applet == "linuxrc" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("/bin/busybox", p); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return writeFiles(dir, baseFiles)
}

// baseFiles is what account and name lookups read.
var baseFiles = map[string]string{
	"etc/passwd": `root:x:0:0:root:/root:/bin/sh
bin:x:1:1:bin:/bin:/sbin/nologin
daemon:x:2:2:daemon:/sbin:/sbin/nologin
mail:x:8:12:mail:/var/mail:/sbin/nologin
guest:x:405:100:guest:/dev/null:/sbin/nologin
nobody:x:65534:65534:nobody:/:/sbin/nologin
`,
	"etc/group": `root:x:0:root
bin:x:1:root,bin,daemon
daemon:x:2:root,bin,daemon
tty:x:5:
wheel:x:10:root
mail:x:12:mail
audio:x:18:
video:x:27:root
users:x:100:
nobody:x:65534:
`,
	"etc/shadow":        "root:*::0:::::\nnobody:!::0:::::\n",
	"etc/shells":        "/bin/sh\n/bin/ash\n",
	"etc/nsswitch.conf": "hosts: files dns\n",
	"etc/profile":       "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nexport PS1='\\w \\$ '\n",
}

// writeFiles writes each file below dir. A text of "-> X" makes a link to X, one
// that starts with "#!" a program.
func writeFiles(dir string, files map[string]string) error {
	for name, text := range files {
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		// A package's own link (nginx's log files) is replaced, not followed.
		if err := os.Remove(p); err != nil && !os.IsNotExist(err) {
			return err
		}
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			if err := os.Symlink(target, p); err != nil {
				return err
			}
			continue
		}
		if err := os.WriteFile(p, []byte(text), mode); err != nil {
			return err
		}
		if err := os.Chmod(p, mode); err != nil {
			return err
		}
	}
	return nil
}

// overFiles makes a builder that adds files to busybox's tree.
func overFiles(files map[string]string) func(string) error {
	return func(dir string) error {
		if err := busyboxTree(dir); err != nil {
			return err
		}
		return writeFiles(dir, files)
	}
}

// staticTree holds one static C program and nothing else.
func staticTree(dir string) error {
	src := filepath.Join(dir, "hello.c")
	if err := os.WriteFile(src, []byte(helloSource), 0o644); err != nil {
		return err
	}
	defer os.Remove(src)
	return run("", "gcc", "-static", "-Os", "-s", "-o", filepath.Join(dir, "hello"), src)
}

const helloSource = `#include <stdio.h>
int main(void)
{
	puts("\nHello from Docker!\nThis message shows that your installation appears to be working correctly.\n");
	return 0;
}
`

// debianTree is what debootstrap makes from the archive that this machine uses.
func debianTree(dir string) error {
	suite, mirror, err := debianArchive()
	if err != nil {
		return err
	}
	if err := run("", "debootstrap", "--variant=minbase", "--include=ca-certificates", suite, dir, mirror); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "usr/sbin/policy-rc.d"), []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
		return err
	}
	return scrub(dir)
}

// debianArchive is the suite and the URI of the archive in apt's configuration.
// Only an archive that calls itself Debian will do: debootstrap on a derivative
// would need its keys.
func debianArchive() (suite, mirror string, err error) {
	out, err := exec.Command("apt-get", "indextargets", "--format", "$(ORIGIN)|$(COMPONENT)|$(CODENAME)|$(REPO_URI)").Output()
	if err != nil {
		return "", "", fmt.Errorf("cannot ask apt for its archive: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) == 4 && f[0] == "Debian" && f[1] == "main" && !strings.Contains(f[2], "-") {
			return f[2], f[3], nil
		}
	}
	return "", "", fmt.Errorf("apt is configured with no Debian archive")
}

// scrub removes what differs from one build to the next.
func scrub(dir string) error {
	for _, glob := range []string{"var/log/*", "var/cache/apt/*.bin", "var/cache/apt/archives/*.deb", "var/cache/ldconfig/*", "var/lib/apt/lists/*", "etc/machine-id", "etc/resolv.conf", "etc/hostname", "tmp/*", "root/.bash_history"} {
		found, err := filepath.Glob(filepath.Join(dir, glob))
		if err != nil {
			return err
		}
		for _, p := range found {
			// nginx and postgres want their log directories.
			if fi, err := os.Lstat(p); err == nil && fi.IsDir() && strings.HasPrefix(glob, "var/log") {
				continue
			}
			if err := os.RemoveAll(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// withPackages makes a builder for a layer on top of a base's tree: packages,
// without what they recommend and without documentation, and files.
func withPackages(base string, files map[string]string, packages ...string) func(string) error {
	return layerOn(base, func(root string) error {
		if err := install(root, packages...); err != nil {
			return err
		}
		return writeFiles(root, files)
	})
}

// layerOn makes a builder for a layer on top of a base's tree: fill works in an
// overlay mount, whose upper directory is the layer.
func layerOn(base string, fill func(root string) error) func(string) error {
	return func(dir string) (err error) {
		lower := filepath.Join(filepath.Dir(dir), base)
		work, merged := dir+".work", dir+".merged"
		for _, d := range []string{work, merged} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return err
			}
			defer os.RemoveAll(d)
		}
		opts := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, dir, work)
		if err := syscall.Mount("overlay", merged, "overlay", 0, opts); err != nil {
			return fmt.Errorf("cannot mount %s: %w", opts, err)
		}
		defer syscall.Unmount(merged, syscall.MNT_DETACH)
		if resolv, err := os.ReadFile("/etc/resolv.conf"); err == nil {
			if err := os.WriteFile(filepath.Join(merged, "etc/resolv.conf"), resolv, 0o644); err != nil {
				return err
			}
		}
		if err := fill(merged); err != nil {
			return err
		}
		return scrub(merged)
	}
}

// aptGet runs apt-get in root, on package lists that the layers of one run
// share: fetching and parsing them takes longer than many a package.
func aptGet(root string, args ...string) error {
	lists := filepath.Join(filepath.Dir(root), sharedLists)
	at := filepath.Join(root, "var/lib/apt/lists")
	_, err := os.Stat(lists)
	fresh := os.IsNotExist(err)
	if err := os.MkdirAll(lists, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount(lists, at, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("cannot mount %s on %s: %w", lists, at, err)
	}
	defer syscall.Unmount(at, syscall.MNT_DETACH)
	if fresh {
		if err := run(root, "apt-get", "update", "-q"); err != nil {
			os.RemoveAll(lists)
			return err
		}
	}
	return run(root, "apt-get", append([]string{"-q", "-o", "Dpkg::Options::=--force-unsafe-io"}, args...)...)
}

// sharedLists is beside the trees, and removed with the end of a run: lists
// that are older name packages that the archive has no more.
const sharedLists = "apt-lists"

// install installs packages in root. What was there before has its
// documentation; what comes has none.
func install(root string, packages ...string) error {
	noDocs := filepath.Join(root, "etc/dpkg/dpkg.cfg.d/no-documentation")
	if err := os.WriteFile(noDocs, []byte("path-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\n"), 0o644); err != nil {
		return err
	}
	if err := aptGet(root, append([]string{"install", "-y", "--no-install-recommends"}, packages...)...); err != nil {
		return err
	}
	return aptGet(root, "clean")
}

// postgresTree leaves out LLVM, 110 MB that only just-in-time compilation uses.
func postgresTree(dir string) error {
	if err := withPackages("debian", postgresFiles, "postgresql", "postgresql-client")(dir); err != nil {
		return err
	}
	return run("", "find", filepath.Join(dir, "usr/lib"), "(", "-name", "libLLVM*", "-o", "-name", "libclang*", "-o", "-path", "*/bitcode/*", ")", "-type", "f", "-delete")
}

// run executes a command, inside root where given, and shows its output only
// when it fails.
func run(root, name string, args ...string) error {
	if root != "" {
		args = append([]string{root, "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "HOME=/root",
			"PATH=/usr/sbin:/usr/bin:/sbin:/bin", name}, args...)
		name = "chroot"
	}
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out.Bytes())
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package inroot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
)

// AddAccount gives the user a line in the container's passwd and group files, as
// podman does with --userns keep-id: without one ssh, git and whoami fail. It goes
// into the files themselves, not over them, so that useradd works in the container.
// An image that has no such file, or knows the number already, is left alone.
func AddAccount(root *os.File, a *monitor.Account) error {
	uid, gid := strconv.Itoa(a.UID), strconv.Itoa(a.GID)
	err := addLine(root, "/etc/passwd", a.Name, uid, func(name string) string {
		return fmt.Sprintf("%s:*:%s:%s:%s:%s:/bin/sh\n", name, uid, gid, a.Comment, a.Home)
	})
	if err != nil {
		return err
	}
	return addLine(root, "/etc/group", a.Group, gid, func(name string) string { return name + ":*:" + gid + ":\n" })
}

// addLine appends what line makes of a name that is free, unless a line has the
// number.
func addLine(root *os.File, file, name, number string, line func(name string) string) error {
	f, err := openIn(root, file)
	if err != nil {
		return nil // many images have none; what is no file is nothing to write to
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	f.Close()
	if err != nil {
		return errs.Wrap(err, "read", file)
	}
	taken := map[string]bool{}
	for l := range strings.Lines(string(text)) {
		fields := strings.SplitN(l, ":", 4)
		if len(fields) > 2 && fields[2] == number {
			return nil
		}
		taken[fields[0]] = true
	}
	if name == "" || taken[name] || strings.ContainsAny(name, ":\n") {
		name = "user" + number
	}
	add := line(name)
	if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
		add = "\n" + add
	}
	h, err := pathrs.OpenatInRoot(root, file)
	if err != nil {
		return errs.Wrap(err, "open", file)
	}
	defer h.Close()
	w, err := pathrs.Reopen(h, unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC|unix.O_NOCTTY)
	if errors.Is(err, unix.EROFS) {
		return nil // a root without a layer of the container's own
	}
	if err != nil {
		return errs.Wrap(err, "open", file)
	}
	_, err = w.WriteString(add)
	return errs.Wrap(errors.Join(err, w.Close()), "write", file)
}

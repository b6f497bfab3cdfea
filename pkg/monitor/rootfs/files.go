// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/spec"
)

// The generated files are mounted into the container before their content is
// known. They are therefore written in place, never replaced: a new inode
// would not be seen there.

// CreateFiles makes the files, empty, for the mounts. They belong to uid and gid.
func CreateFiles(f monitor.Files, mode spec.NetworkMode, uid, gid int) error {
	if f.Dir != "" {
		if err := mountFiles(f, mode); err != nil {
			return err
		}
	}
	for _, p := range []string{f.Hostname, f.Hosts, f.ResolvConf, f.ContainerEnv} {
		if p == "" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			return errs.Wrap(err, "create directory", filepath.Dir(p))
		}
		if err := writeInPlace(p, nil); err != nil {
			return err
		}
		if uid == 0 && gid == 0 {
			continue
		}
		if err := os.Lchown(p, uid, gid); err != nil {
			return errs.Wrap(err, "change the owner of", p)
		}
	}
	return nil
}

// filesRoom is what a container may add to the generated files. They are
// writable in it, and in memory: in the runtime directory a container could fill
// up what the user's session needs.
const filesRoom = 256 << 10

// mountFiles mounts a file system for the files, as large as they need. It ends
// with the monitor's mount namespace.
func mountFiles(f monitor.Files, mode spec.NetworkMode) error {
	size := int64(filesRoom)
	for _, e := range f.ExtraHosts {
		size += int64(len(e.Name)) + 64
	}
	host := []string{"/etc/resolv.conf"}
	if mode == spec.NetHost {
		host = append(host, "/etc/hosts")
	}
	for _, p := range host {
		if st, err := os.Stat(p); err == nil {
			size += st.Size()
		}
	}
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return errs.Wrap(err, "create directory", f.Dir)
	}
	data := "mode=0755,size=" + strconv.FormatInt(size, 10)
	err := unix.Mount("tmpfs", f.Dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, data)
	return errs.Wrap(err, "mount a file system at", f.Dir)
}

// FillFiles writes what the container's addresses decide.
func FillFiles(f monitor.Files, plan spec.NetworkPlan, at spec.Attachment) error {
	// The last run may have left no room.
	for _, p := range []string{f.Hostname, f.Hosts, f.ResolvConf, f.ContainerEnv} {
		if p != "" {
			_ = os.Truncate(p, 0)
		}
	}
	if f.Hostname != "" {
		if err := writeInPlace(f.Hostname, []byte(f.Host+"\n")); err != nil {
			return err
		}
	}
	if f.ContainerEnv != "" {
		if err := writeInPlace(f.ContainerEnv, []byte(f.ContainerEnvText)); err != nil {
			return err
		}
	}
	if f.Hosts != "" {
		var own []byte
		if plan.Mode == spec.NetHost {
			own, _ = os.ReadFile("/etc/hosts")
		}
		if err := writeInPlace(f.Hosts, hostsFile(f, plan.Mode, at, own)); err != nil {
			return err
		}
	}
	if f.ResolvConf != "" {
		own, _ := os.ReadFile("/etc/resolv.conf")
		return writeInPlace(f.ResolvConf, resolvConf(plan.DNS, at, own))
	}
	return nil
}

func writeInPlace(p string, data []byte) error {
	out, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return errs.Wrap(err, "write", p)
	}
	// Any user of the container reads it, whatever umask the monitor got.
	err = out.Chmod(0o644)
	if err == nil {
		_, err = out.Write(data)
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return errs.Wrap(err, "write", p)
}

const hostsHead = `127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::	ip6-localnet
ff00::	ip6-mcastprefix
ff02::1	ip6-allnodes
ff02::2	ip6-allrouters
`

// hostsFile is /etc/hosts: Docker's head (with the host's network the host's
// own lines), --add-host, and the container's name at each of its addresses.
func hostsFile(f monitor.Files, mode spec.NetworkMode, at spec.Attachment, own []byte) []byte {
	var b bytes.Buffer
	if len(own) > 0 {
		b.Write(own)
		if own[len(own)-1] != '\n' {
			b.WriteByte('\n')
		}
	} else {
		b.WriteString(hostsHead)
	}
	for _, e := range f.ExtraHosts {
		ip := e.IP
		if ip == "host-gateway" {
			ip = hostGateway(mode, at)
		}
		if ip != "" {
			b.WriteString(ip + "\t" + e.Name + "\n")
		}
	}
	if f.Host == "" || mode == spec.NetHost {
		return b.Bytes()
	}
	names := f.Host
	if f.Domain != "" {
		names = f.Host + "." + f.Domain + " " + f.Host
	}
	addressed := false
	for _, i := range at.Interfaces {
		for _, a := range i.Addrs {
			addressed = true
			b.WriteString(a.Addr().String() + "\t" + names + "\n")
		}
	}
	// A program that looks its own name up must find something: sudo, some
	// databases and every JVM do.
	if !addressed {
		b.WriteString("127.0.0.1\t" + names + "\n")
	}
	return b.Bytes()
}

func hostGateway(mode spec.NetworkMode, at spec.Attachment) string {
	switch {
	case at.HostGateway.IsValid():
		return at.HostGateway.String()
	case mode == spec.NetHost:
		return "127.0.0.1"
	}
	return ""
}

// resolvConf is /etc/resolv.conf: what the network or the user said, line by
// line over the host's own.
func resolvConf(dns spec.DNS, at spec.Attachment, own []byte) []byte {
	servers, search := at.Nameservers, at.Search
	if len(servers) == 0 {
		servers = dns.Servers
	}
	if len(search) == 0 {
		search = dns.Search
	}
	var b bytes.Buffer
	for _, line := range strings.Split(string(own), "\n") {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case word == "nameserver" && len(servers) == 0,
			(word == "search" || word == "domain") && len(search) == 0,
			word == "options" && len(dns.Options) == 0:
			b.WriteString(strings.TrimSpace(line) + "\n")
		}
	}
	// "." stands for an empty search list.
	if len(search) > 0 && !(len(search) == 1 && search[0] == ".") {
		b.WriteString("search " + strings.Join(search, " ") + "\n")
	}
	for _, s := range servers {
		b.WriteString("nameserver " + s.String() + "\n")
	}
	if len(dns.Options) > 0 {
		b.WriteString("options " + strings.Join(dns.Options, " ") + "\n")
	}
	return b.Bytes()
}

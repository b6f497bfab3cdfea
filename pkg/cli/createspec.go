// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// createEngine is the part of the engine that --volumes-from and --replace use.
type createEngine interface {
	Remove(context.Context, string, libpod.RemoveOptions) error
	Inspect(ctx context.Context, ref string) (*libpod.Details, error)
}

// container makes the request of the flags and the arguments IMAGE [COMMAND
// [ARG...]].
func (c *createFlags) container(ctx context.Context, a *app, args []string) (*spec.Container, error) {
	s := &spec.Container{Name: strings.TrimPrefix(c.name, "/"), Image: args[0], Pull: c.pull, Resources: c.resources}
	var err error
	if s.Platform, err = c.platform.value(); err != nil {
		return nil, err
	}
	if s.Pull == "" {
		s.Pull = spec.PullMissing
	}
	if c.name != "" {
		if err := spec.CheckContainerName(c.name); err != nil {
			return nil, err
		}
	}
	for _, step := range []func() error{
		func() error { return c.fillLabels(a, s) },
		func() error { return c.fillProcess(a, s, args[1:]) },
		func() error { return c.fillMounts(ctx, a, s) },
		func() error { return c.fillNetwork(s) },
		func() error { return c.fillSecurity(a, s) },
		func() error { return c.fillLife(a, s) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return s, c.conflicts(s)
}

func (c *createFlags) fillLabels(a *app, s *spec.Container) error {
	var lines []string
	for _, name := range c.labelFiles {
		b, err := a.readFile(name)
		if err != nil {
			return err
		}
		l, err := spec.ParseLabelFile(name, b)
		if err != nil {
			return err
		}
		lines = append(lines, l...)
	}
	var err error
	if s.Labels, err = spec.ParseLabels(append(lines, c.labels...)); err != nil {
		return err
	}
	s.Annotations, err = spec.ParseKeyValues("annotation", c.annotations)
	return err
}

// proxyVariables are passed on to the container, as podman does and as Docker
// can be told to.
var proxyVariables = []string{"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY"}

func (c *createFlags) fillProcess(a *app, s *spec.Container, args []string) error {
	f := &c.process
	p := f.Process
	p.Args, p.OpenStdin = args, f.stdin
	if c.set.changed("entrypoint") {
		p.Entrypoint = parseEntrypoint(f.entrypoint)
	}
	env, err := f.environment(a)
	if err != nil {
		return err
	}
	p.Env = env
	if p.Localtime, err = zoneFile(f.tz); err != nil {
		return err
	}
	if p.Attach, err = spec.ParseAttach(f.attach); err != nil {
		return err
	}
	if p.Dir != "" && !filepath.IsAbs(p.Dir) {
		return &errs.Error{Kind: errs.Invalid, Err: errs.New(errs.Invalid, "the working directory '%s' is invalid, it needs to be an absolute path", p.Dir)}
	}
	s.Process = p
	return nil
}

func (f *processFlags) environment(a *app) ([]string, error) {
	var env []string
	if f.httpProxy {
		for _, name := range proxyVariables {
			if v, ok := a.std.Lookup(name); ok {
				env = append(env, name+"="+v)
			}
		}
	}
	if f.envHost {
		env = append(env, os.Environ()...)
	}
	if f.tz != "" {
		env = append(env, "TZ") // the image's would win over /etc/localtime
	}
	for _, name := range f.envFiles {
		b, err := a.readFile(name)
		if err != nil {
			return nil, err
		}
		e, err := spec.ParseEnvFile(name, b, a.std.Lookup)
		if err != nil {
			return nil, err
		}
		env = append(env, e...)
	}
	e, err := spec.ParseEnv(f.env, a.std.Lookup)
	return spec.JoinEnv(env, e), err
}

// zoneFile is the host's file of a time zone.
func zoneFile(zone string) (string, error) {
	p := "/etc/localtime"
	switch {
	case zone == "":
		return "", nil
	case zone == "local":
		if _, err := os.Stat(p); errors.Is(err, fs.ErrNotExist) {
			return "", nil // that is UTC, here and there
		}
	case !filepath.IsLocal(zone):
		return "", errs.WithHint(errs.New(errs.Invalid, "invalid time zone %q", zone), "name one as Europe/Berlin, or local for the host's")
	default:
		p = filepath.Join("/usr/share/zoneinfo", zone)
	}
	if st, err := os.Stat(p); err != nil || !st.Mode().IsRegular() {
		return "", errs.WithHint(errs.New(errs.Invalid, "unknown time zone %q: the host has no file %s", zone, p),
			"see ls /usr/share/zoneinfo (package tzdata), or leave it to the image's files with -e TZ=%s", zone)
	}
	return p, nil
}

// parseEntrypoint takes one program, or a JSON array; "" removes the image's.
func parseEntrypoint(s string) *[]string {
	list := []string{}
	switch {
	case s == "":
	case strings.HasPrefix(s, "[") && json.Unmarshal([]byte(s), &list) == nil:
	default:
		list = []string{s}
	}
	return &list
}

func (c *createFlags) fillMounts(ctx context.Context, a *app, s *spec.Container) error {
	add := func(m spec.Mount, err error) error {
		s.Mounts = append(s.Mounts, m)
		return err
	}
	for _, v := range c.mounts.volumes {
		if err := add(spec.ParseVolume(v, a.std.Dir)); err != nil {
			return err
		}
	}
	for _, v := range c.mounts.mounts {
		if err := add(spec.ParseMount(v, a.std.Dir)); err != nil {
			return c.set.named["mount"].argError(v, err)
		}
	}
	for _, v := range c.mounts.tmpfs {
		if err := add(spec.ParseTmpfs(v)); err != nil {
			return c.set.named["tmpfs"].argError(v, err)
		}
	}
	if err := spec.CheckMounts(s.Mounts); err != nil {
		return err
	}
	if c.security.ReadOnly && c.set.changed("read-only-tmpfs") && c.mounts.readOnlyTmpfs {
		s.Mounts = withoutTargets([]spec.Mount{tmpfsOn("/run"), tmpfsOn("/tmp"), tmpfsOn("/var/tmp")}, s.Mounts)
	}
	return c.mountsFrom(ctx, a, s)
}

func tmpfsOn(dir string) spec.Mount {
	return spec.Mount{Type: spec.MountTmpfs, Target: dir, TmpfsMode: 0o1777, Options: []string{"nosuid", "nodev"}}
}

// withoutTargets is base, without what mounts covers, followed by mounts.
func withoutTargets(base, mounts []spec.Mount) []spec.Mount {
	taken := map[string]bool{}
	for _, m := range mounts {
		taken[m.Target] = true
	}
	var out []spec.Mount
	for _, m := range base {
		if !taken[m.Target] {
			out = append(out, m)
		}
	}
	return append(out, mounts...)
}

// mountsFrom copies the volumes of other containers: --volumes-from NAME[:ro].
func (c *createFlags) mountsFrom(ctx context.Context, a *app, s *spec.Container) error {
	for _, v := range c.mounts.from {
		ref, mode, _ := strings.Cut(v, ":")
		if mode != "" && mode != "ro" && mode != "rw" && mode != "z" {
			return errs.WithHint(errs.New(errs.Invalid, "invalid mode for volumes-from: %s", mode), "write --volumes-from NAME[:ro|rw]")
		}
		e, err := engineOf[createEngine](ctx, a)
		if err != nil {
			return err
		}
		d, err := e.Inspect(ctx, ref)
		if err != nil {
			return err
		}
		var mounts []spec.Mount
		for _, m := range d.Mounts {
			if m.Type == spec.MountTmpfs {
				continue
			}
			n := spec.Mount{Type: m.Type, Source: m.Source, Target: m.Destination, ReadOnly: !m.RW || mode == "ro", Propagation: m.Propagation}
			if m.Type == spec.MountVolume {
				n.Source, n.Propagation = m.Name, ""
			}
			mounts = append(mounts, n)
		}
		s.Mounts = withoutTargets(mounts, s.Mounts)
	}
	return nil
}

func (c *createFlags) fillNetwork(s *spec.Container) error {
	f := &c.network
	n, err := spec.ParseNetwork(f.NetworkFlags)
	if err != nil {
		return err
	}
	if n.Ports, err = spec.ParsePublishes(f.publish); err != nil {
		return err
	}
	for _, v := range f.expose {
		p, err := spec.ParseExpose(v)
		if err != nil {
			return err
		}
		n.Expose = append(n.Expose, p...)
	}
	for _, v := range f.hosts {
		h, err := spec.ParseAddHost(v)
		if err != nil {
			return c.set.named["add-host"].argError(v, err)
		}
		n.ExtraHosts = append(n.ExtraHosts, h...)
	}
	n.PublishAll, n.NoHosts, n.NoHostname = f.publishAll, f.noHosts, f.noHostname
	n.DNS, err = spec.ParseDNS(f.dns, f.dnsSearch, f.dnsOptions)
	s.Network = n
	return err
}

func (c *createFlags) fillSecurity(a *app, s *spec.Container) (err error) {
	f := &c.security
	if s.Security, err = f.security(a); err != nil {
		return err
	}
	s.Security.Sysctls, err = spec.ParseSysctls(f.sysctls)
	return err
}

// security adds the capabilities and --security-opt to what the flags have set.
func (f *securityFlags) security(a *app) (sec spec.Security, err error) {
	sec = f.Security
	if sec.CapAdd, err = spec.ParseCaps(f.capAdd); err != nil {
		return sec, err
	}
	if sec.CapDrop, err = spec.ParseCaps(f.capDrop); err != nil {
		return sec, err
	}
	read := func(p string) ([]byte, error) {
		p, err := a.abs(p)
		if err != nil {
			return nil, err
		}
		return os.ReadFile(p)
	}
	host := spec.SecurityHost{ReadFile: read, SELinux: selinux()}
	for _, o := range f.opts {
		if err := sec.ApplySecurityOpt(o, host); err != nil {
			return sec, err
		}
	}
	return sec, nil
}

func selinux() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}

func (c *createFlags) fillLife(a *app, s *spec.Container) (err error) {
	l := &c.life
	s.Lifecycle = spec.Lifecycle{AutoRemove: l.remove, Restart: l.restart, StopSignal: l.stopSignal, StopTimeout: l.stopTimeout}
	if l.cidfile != "" {
		if s.Lifecycle.CIDFile, err = a.abs(l.cidfile); err != nil {
			return err
		}
		if _, err := os.Lstat(s.Lifecycle.CIDFile); err == nil {
			return &errs.Error{Kind: errs.Exists, Hint: "remove it, or name another file",
				Err: errs.New(errs.Exists, "container ID file found, make sure the other container isn't running or delete %s", l.cidfile)}
		}
	}
	if s.Logging.Options, err = spec.ParseKeyValues("log-opt", l.logOpts); err != nil {
		return err
	}
	s.Logging.Driver = l.logDriver
	s.Health, err = spec.ParseHealth(c.health)
	return err
}

// conflicts refuses what cannot hold together.
func (c *createFlags) conflicts(s *spec.Container) error {
	bad := func(hint, format string, args ...any) error {
		return &errs.Error{Kind: errs.Invalid, Err: errs.New(errs.Invalid, format, args...), Hint: hint}
	}
	switch r := s.Lifecycle.Restart.Name; {
	case s.Lifecycle.AutoRemove && r != "" && r != "no":
		return bad("omit one of the two", "Conflicting options: --restart and --rm")
	case s.Network.Mode == spec.NetContainer && s.Process.Hostname != "":
		return bad("omit --hostname", "conflicting options: hostname and the network mode")
	case s.Network.Mode == spec.NetContainer && len(s.Network.ExtraHosts) > 0:
		return bad("give --add-host to the container whose network this one shares", "conflicting options: custom host-to-IP mapping and the network mode")
	case s.Network.NoHosts && len(s.Network.ExtraHosts) > 0:
		return bad("omit one of the two", "conflicting options: --no-hosts and --add-host")
	case s.Network.Mode == spec.NetContainer && len(s.Network.DNS.Servers) > 0:
		return bad("give --dns to the container whose network this one shares", "conflicting options: dns and the network mode")
	case s.Resources.NanoCPUs > 0 && s.Resources.CPUPeriod > 0:
		return bad("use --cpus alone", "Conflicting options: Nano CPUs and CPU Period cannot both be set")
	case s.Resources.NanoCPUs > 0 && s.Resources.CPUQuota > 0:
		return bad("use --cpus alone", "Conflicting options: Nano CPUs and CPU Quota cannot both be set")
	case s.Resources.Memory > 0 && s.Resources.Memory < 6<<20:
		return bad("give 6m or more", "Minimum memory limit allowed is 6MB")
	case s.Resources.MemorySwap > 0 && s.Resources.Memory == 0:
		return bad("set --memory as well", "You should always set the Memory limit when using Memoryswap limit, see usage")
	case s.Resources.MemorySwap > 0 && s.Resources.MemorySwap < s.Resources.Memory:
		return bad("memory-swap counts memory and swap together", "Minimum memoryswap limit should be larger than memory limit, see usage")
	case s.Resources.Memory > 0 && s.Resources.MemoryReservation > s.Resources.Memory:
		return bad("raise --memory", "Minimum memory limit can not be less than memory reservation limit, see usage")
	}
	if o := s.Resources.OOMScoreAdj; o != nil && (*o < -1000 || *o > 1000) {
		return bad("choose a number from -1000 to 1000", "Invalid value %d, range for oom score adj is [-1000, 1000]", *o)
	}
	return nil
}

// progress is where a missing image's pull is shown.
func (c *createFlags) progress(a *app) io.Writer {
	if c.quiet {
		return nil
	}
	return a.out.ErrWriter()
}

// removeOld makes room for --replace.
func (c *createFlags) removeOld(ctx context.Context, e createEngine, s *spec.Container) error {
	if !c.replace {
		return nil
	}
	if s.Name == "" {
		return errs.WithHint(errs.New(errs.Invalid, "cannot replace container without --name being set"), "add --name NAME")
	}
	return e.Remove(ctx, s.Name, libpod.RemoveOptions{Force: true, Ignore: true})
}

func parseUint(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, errs.New(errs.Invalid, "strconv.ParseUint: parsing %q: invalid syntax", s)
	}
	return n, nil
}

// parsePidsLimit takes 0 for "unlimited", as Docker: not given is something else.
func parsePidsLimit(s string) (int64, error) {
	n, err := parseInt64(s)
	if n <= 0 {
		n = -1
	}
	return n, err
}

func parseInt64(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, errs.New(errs.Invalid, "strconv.ParseInt: parsing %q: invalid syntax", s)
	}
	return n, nil
}

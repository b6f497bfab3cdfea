// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/network/ports"
	"github.com/proa-containers/proa/network/uplink"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/failpoint"
	"github.com/proa-containers/proa/pkg/initprog"
	"github.com/proa-containers/proa/pkg/logs"
	"github.com/proa-containers/proa/pkg/logs/logopt"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/monitor/client"
	"github.com/proa-containers/proa/pkg/ocispec"
	"github.com/proa-containers/proa/pkg/rundir"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/pkg/version"
	"github.com/proa-containers/proa/rootless/userns"
	"github.com/proa-containers/proa/storage/rootmount"
)

func itoa(n int) string { return strconv.Itoa(n) }

// launching is a monitor on its way. It is begun before the record exists: the
// monitor's own start takes longer than everything the front end has to do.
type launching struct {
	e      *Engine
	id     string
	join   *joined
	ns     *userns.Namespace
	handle *client.Handle
	net    chan error // the outcome of finding the uplink; nil: none is needed, or it is known
	uplink *uplink.Hold
}

// launch starts a monitor for the container whose locks are given, and returns as
// soon as the process exists. After an error there is nothing to release.
func (e *Engine) launch(ctx context.Context, id string, c *spec.Container, hold *rundir.Hold, attach bool) (
	*launching, error) {
	l := &launching{e: e, id: id}
	var err error
	if l.join, err = e.joins(ctx, c); err != nil {
		return nil, err
	}
	defer l.join.close()
	if l.ns, err = e.namespace(ctx); err != nil {
		return nil, err
	}
	l.handle, err = client.Launch(ctx, client.LaunchOptions{
		RunDir: e.dirs.ContainerRun(id), Hold: hold, Attach: attach,
		Start: l.startInside,
		Env:   e.settleEnv(),
	})
	if err != nil {
		_ = l.ns.Close()
		return nil, err
	}
	if needsUplink(&c.Network) {
		done := make(chan error, 1)
		l.net = done
		go func() {
			var err error
			l.uplink, err = e.holdUplink(ctx, l.ns)
			done <- err
		}()
	}
	if err := failpoint.Hit(FailpointStartLaunched); err != nil {
		l.kill()
		return nil, err
	}
	return l, nil
}

// startInside starts the monitor as process 1 of a pid namespace, so that its
// death is the death of everything in the container. A container that shares
// the pid namespace of the host or of another one needs it outside.
func (l *launching) startInside(cmd *exec.Cmd) (func(context.Context) (int, error), error) {
	o := userns.Options{NewPID: true}
	if l.join.outside {
		o = userns.Options{NewMount: true}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	l.join.inherit(cmd)
	child, err := l.ns.Start(cmd, o)
	if err != nil {
		return nil, err
	}
	return child.Ready, nil
}

// settleEnv is what the monitor's settling command has to know: it runs as
// root of the namespace, and is proa all the same.
func (e *Engine) settleEnv() []string {
	env, err := userns.InsideEnv(nil)
	if err != nil {
		return nil
	}
	return append(env, e.dirEnv()...)
}

func (e *Engine) dirEnv() []string {
	return []string{"PROA_DATA_DIR=" + e.dirs.Data, "PROA_RUN_DIR=" + e.dirs.Run}
}

// waitUplink waits until the user's network is there.
func (l *launching) waitUplink() error {
	if l.net == nil {
		return nil
	}
	err := <-l.net
	l.net = nil
	return err
}

// cause is the reason why a launch failed: the error from entering the namespaces, which
// explains itself, else err.
func (l *launching) cause(ctx context.Context, err error) error {
	if _, perr := l.handle.PID(ctx); perr != nil {
		return perr
	}
	return userns.ExplainLimits(err)
}

// kill ends a monitor that is not wanted any more, and waits until it is gone:
// what it was about to write would otherwise appear after the clearing away.
func (l *launching) kill() {
	l.handle.Kill()
	defer l.e.clearDead(l.id)
	defer l.release()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	pid, err := l.handle.PID(ctx)
	if err != nil || pid <= 0 {
		return
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 2000)
}

// release lets go of the monitor, which lives on, and of the namespace. It may
// be called twice.
func (l *launching) release() {
	l.handle.Close()
	_ = l.waitUplink()
	if l.uplink != nil {
		_ = l.uplink.Close()
	}
	_ = l.ns.Close()
}

// ownInit says whether a container gets the init program that proa carries.
func ownInit(c *spec.Container) bool {
	return c.Process.Init && c.Process.InitPath == "" && initprog.Available()
}

// initFile is where that program is for one container.
func (e *Engine) initFile(id string) string { return filepath.Join(e.dirs.Container(id), "init") }

// hostFacts are what ocispec needs to know about the machine and the user.
func (e *Engine) hostFacts(ns *userns.Namespace, id string, c *spec.Container) (ocispec.Host, error) {
	p := ocispec.Probe{AllDevices: c.Security.Privileged}
	// Where there is none for this architecture, the host may have one.
	p.Init = c.Process.Init && c.Process.InitPath == "" && !ownInit(c)
	for _, dev := range c.Security.Devices {
		p.Devices = append(p.Devices, dev.Host)
	}
	h := ocispec.ProbeHost(p)
	if ownInit(c) {
		h.InitPath = e.initFile(id)
	}
	h.Rootless = !ns.None() || userns.Inside()
	if h.Rootless {
		mapping := ns.Mapping
		if ns.None() {
			mapping = userns.Current // a build's step: the namespace is around us
		}
		m, err := mapping()
		if err != nil {
			return h, err
		}
		h.UIDs, h.GIDs = m.UIDs, m.GIDs
	}
	return h, nil
}

// build makes libcontainer's configuration of a container.
func (e *Engine) build(ctx context.Context, id string, b *state.Body, l *launching) (*ocispec.Output, *monitor.Config, error) {
	host, err := e.hostFacts(l.ns, id, &b.Spec)
	if err != nil {
		return nil, nil, err
	}
	place, base, err := e.prepareCgroup(ctx, id, l)
	if err != nil {
		return nil, nil, err
	}
	cgroupFacts(&host, place, base)
	mounts, fill, err := e.hostMounts(&b.Spec)
	if err != nil {
		return nil, nil, err
	}
	run := e.dirs.ContainerRun(id)
	files := generatedFiles(filepath.Join(e.dirs.Data, "files"), &b.Spec)
	if ocispec.NeedsContainerEnv(b.Spec.Security.Privileged, mounts) {
		files.ContainerEnv = filepath.Join(files.Dir, "containerenv")
		files.ContainerEnvText = containerEnv(id, b, host.Rootless)
	}
	var shm *monitor.SharedShm
	if l.join.shm != "" {
		shm = &monitor.SharedShm{Namespace: l.join.shm, Dir: filepath.Join(files.Dir, "shm")}
		l.join.Shm = shm.Dir
	}
	out, err := ocispec.Build(&ocispec.Input{ID: id, Spec: b.Spec, Image: b.Image, Host: host, Mounts: mounts, Join: l.join.Join, AutoStart: autoStart(&b.Spec),
		Files: ocispec.Files{Hostname: files.Hostname, Hosts: files.Hosts, ResolvConf: files.ResolvConf, ContainerEnv: files.ContainerEnv}})
	if err != nil {
		return nil, nil, err
	}
	files.Host = out.Config.Hostname
	if files.Host == "" {
		files.Host = host.Hostname
	}
	plan, err := e.networkPlan(ctx, id, b, l.join.netRun, files.Host)
	if err != nil {
		return nil, nil, err
	}
	if err := rootmount.Mend(b.Rootfs); err != nil {
		return nil, nil, err
	}
	cfg := &monitor.Config{ID: id, DataDir: e.dirs.Container(id), RunDir: run, Rootfs: b.Rootfs, Container: out.Config,
		Process: monitor.Process(out.Process), Network: plan, Volumes: fill, Files: files, Shm: shm}
	cfg.Localtime = b.Spec.Process.Localtime
	if out.Kept {
		cfg.Account = account(out, mounts)
	}
	return out, cfg, nil
}

// account is the line of the user in the passwd file of a container that keeps the user's
// id. Its home is the user's home if that is mounted, else, as with podman, the working
// directory.
func account(out *ocispec.Output, mounts []spec.Mount) *monitor.Account {
	a := &monitor.Account{UID: out.KeptUID, GID: out.KeptGID, Home: out.Process.Dir}
	u, err := user.LookupId(strconv.Itoa(userns.UserID()))
	if err != nil {
		return a
	}
	a.Name, a.Comment = u.Username, u.Name
	if strings.ContainsAny(a.Comment, ":\n") {
		a.Comment = ""
	}
	if g, err := user.LookupGroupId(u.Gid); err == nil {
		a.Group = g.Name
	}
	if u.HomeDir != "" && slices.ContainsFunc(mounts, func(m spec.Mount) bool { return path.Clean(m.Target) == path.Clean(u.HomeDir) }) {
		a.Home = u.HomeDir
	}
	return a
}

// containerEnv is what a privileged container finds in /run/.containerenv, in
// podman's form: tools that make development environments look their container up
// in it.
func containerEnv(id string, b *state.Body, rootless bool) string {
	if !b.Spec.Security.Privileged {
		return ""
	}
	n := 0
	if rootless {
		n = 1
	}
	return fmt.Sprintf("engine=%q\nname=%q\nid=%q\nimage=%q\nrootless=%d\n", "proa-"+version.Version, b.Spec.Name, id, b.Spec.Image, n)
}

// generatedFiles are those that the monitor mounts over the image's. dir is one
// for all containers: each monitor sees what it has mounted there. It lies with
// the data, as the mount point of root file systems does.
func generatedFiles(dir string, c *spec.Container) monitor.Files {
	f := monitor.Files{Dir: dir, Hostname: filepath.Join(dir, "hostname"), Hosts: filepath.Join(dir, "hosts"),
		ResolvConf: filepath.Join(dir, "resolv.conf"),
		ExtraHosts: c.Network.ExtraHosts, Domain: c.Process.Domainname}
	if c.Network.NoHosts {
		f.Hosts = ""
	}
	if c.Network.NoHostname {
		f.Hostname = ""
	}
	return f
}

// config is everything that the monitor has to know.
func (e *Engine) config(ctx context.Context, row *state.Container, b *state.Body, l *launching) (*monitor.Config, error) {
	out, cfg, err := e.build(ctx, row.ID, b, l)
	if err != nil {
		return nil, err
	}
	for _, w := range out.Warnings {
		e.notice(w)
	}
	c := &b.Spec
	if ownInit(c) {
		if err := initprog.Write(e.initFile(row.ID)); err != nil {
			return nil, err
		}
	}
	cfg.Name = row.Name
	cfg.Network.Name = row.Name
	mode, _, _ := strings.Cut(c.Security.Userns, ":")
	if cfg.Rootfs, err = e.shiftRootfs(b.Rootfs, out.Config, mode); err != nil {
		return nil, err
	}
	cfg.Logging, cfg.LogPath = e.logging(row.ID, c)
	if cfg.LogAttrs, err = logAttrs(row.ID, row.Name, row.ImageID, b); err != nil {
		return nil, err
	}
	cfg.Restart, cfg.RestartCount, cfg.Run = c.Lifecycle.Restart, 0, row.Run
	cfg.StopSignal, cfg.StopTimeout = out.StopSignal, stopTimeout(c)
	cfg.Health = health(c, &b.Image)
	cfg.AutoRemove = c.Lifecycle.AutoRemove
	// Without --rm, the next command reads the exit file: no second program
	// is started at a container's end.
	if self, err := os.Executable(); err == nil && cfg.AutoRemove {
		cfg.Settle = []string{self, settleCommand, row.ID}
	}
	return cfg, nil
}

// defaultStopTimeout is Docker's, in seconds.
const defaultStopTimeout = 10

func stopTimeout(c *spec.Container) int {
	if c.Lifecycle.StopTimeout != nil {
		return *c.Lifecycle.StopTimeout
	}
	return defaultStopTimeout
}

// health is the check to run; nil: none.
func health(c *spec.Container, img *spec.ImageConfig) *spec.Health {
	h := c.HealthOn(img)
	if h == nil || len(h.Test) == 0 || h.Test[0] == "NONE" {
		return nil
	}
	if len(img.Shell) > 0 && h.Test[0] == "CMD-SHELL" && len(h.Test) > 1 {
		m := *h
		m.Test = append(append([]string{"CMD"}, img.Shell...), h.Test[1:]...)
		return &m
	}
	return h
}

// defaultLogDriver is Docker's.
const defaultLogDriver = logs.Default

func (e *Engine) logging(id string, c *spec.Container) (spec.Logging, string) {
	l := c.Logging
	if l.Driver == "" {
		l.Driver = defaultLogDriver
	}
	if l.Driver != logs.JSONFile && l.Driver != logs.K8sFile {
		return l, ""
	}
	if path := l.Options["path"]; path != "" {
		return l, path
	}
	if l.Driver == logs.K8sFile {
		return l, filepath.Join(e.dirs.Container(id), "ctr.log")
	}
	return l, filepath.Join(e.dirs.Container(id), id+"-json.log")
}

// checkLogging refuses log options at the creation that the monitor would refuse at the
// start.
func (e *Engine) checkLogging(d *draft, id string) error {
	l, path := e.logging(id, &d.body.Spec)
	if _, err := logs.Parse(l, path, nil); err != nil {
		return err
	}
	_, err := logAttrs(id, d.body.Spec.Name, d.image.ID, &d.body)
	return err
}

// logAttrs are what each record of the log carries beside the line: the labels
// and variables that --log-opt names, and the tag.
func logAttrs(id, name, imageID string, b *state.Body) (map[string]string, error) {
	return logopt.Attrs(b.Spec.Logging, logopt.Info{ID: id, Name: name, ImageID: imageID, ImageName: b.Spec.Image,
		Labels: mergeLabels(b.Image.Labels, b.Spec.Labels),
		Env:    spec.MergeEnv(b.Image.Env, b.Spec.Process.Env, b.Spec.Process.UnsetEnv)})
}

// begin gives a launched monitor its configuration and waits until the process
// runs. The record is committed as running. attached, where not nil, is called
// with the subscription before the process starts.
func (e *Engine) begin(ctx context.Context, l *launching, row *state.Container, cfg *monitor.Config, attach *monitor.AttachRequest,
	attached func(*client.Attachment)) error {
	if err := l.waitUplink(); err != nil {
		return l.cause(ctx, err)
	}
	h := l.handle
	if attach != nil {
		a, err := h.Attach(*attach)
		if err != nil {
			return err
		}
		attached(a)
	}
	if err := h.Send(cfg); err != nil {
		return err
	}
	if err := failpoint.Hit(FailpointStartSent); err != nil {
		return err
	}
	st, err := h.Ready(ctx)
	if errs.Is(err, errs.InUse) {
		return e.namePortHolder(ctx, row, err)
	}
	if err != nil {
		return userns.ExplainLimits(err)
	}
	if err := failpoint.Hit(FailpointStartReady); err != nil {
		return err
	}
	for _, w := range st.Warnings {
		e.notice(w)
	}
	return e.commitStart(row, cfg, &st)
}

// namePortHolder adds a hint to err: which of the user's own containers publishes a port
// that row wants.
func (e *Engine) namePortHolder(ctx context.Context, row *state.Container, err error) error {
	list, lerr := e.List(ctx, ListOptions{})
	if lerr != nil {
		return err
	}
	for _, want := range row.Ports {
		for i := range list {
			c := &list[i]
			clashes := func(has spec.Port) bool { return clash(want, has) }
			if c.ID != row.ID && slices.ContainsFunc(c.Ports, clashes) {
				return errs.WithHint(err, "container %s publishes it: proa stop %s; or publish another port, for example -p %d:%d",
					c.Name, c.Name, ports.Another(want), want.ContainerPort)
			}
		}
	}
	return err
}

// clash reports whether two ports cannot be published together.
func clash(want, has spec.Port) bool {
	proto := func(p spec.Port) string { return cmp.Or(p.Protocol, "tcp") }
	every := func(p spec.Port) bool { return !p.HostIP.IsValid() || p.HostIP.IsUnspecified() }
	return want.HostPort != 0 && has.HostPort >= want.HostPort && has.HostPort <= max(want.HostPort, want.HostPortEnd) &&
		proto(want) == proto(has) && (every(want) || every(has) || want.HostIP == has.HostIP)
}

// commitStart records that the process runs. That another command has already
// seen it, or its end, is no error.
func (e *Engine) commitStart(row *state.Container, cfg *monitor.Config, st *monitor.Status) error {
	root := &cfg.Rootfs
	if row.State != lifecycle.Creating {
		root = nil // known since its creation
	}
	err := e.rewrite(row, root, containerEvent(row, "start"), func(r *lifecycle.Record) {
		if r.State != lifecycle.Creating && !r.Starting() {
			return // as the other command has seen it
		}
		*r = lifecycle.Record{State: lifecycle.Running, StartedAt: st.StartedAt, FinishedAt: r.FinishedAt,
			Run: r.Run, Place: e.here(st)}
		if r.StartedAt.IsZero() {
			r.StartedAt = time.Now().UTC()
		}
	})
	if err != nil && !errs.Is(err, errs.NotFound) {
		return err
	}
	return failpoint.Hit(FailpointStartCommitted)
}

// rewrite changes a container's record for the holder of its lock. Commands
// that only look may store what they have seen at any moment: the change is
// then made to that, and neither root nor event are lost. row becomes what is
// stored.
func (e *Engine) rewrite(row *state.Container, root *spec.Rootfs, ev state.Event, change func(*lifecycle.Record)) error {
	db, err := e.db()
	if err != nil {
		return err
	}
	for {
		r := row.Record
		change(&r)
		if ok, err := db.Commit(row, r, root, ev); err != nil || ok {
			return err
		}
		now, err := db.Get(row.ID)
		if err != nil {
			return err
		}
		if now == nil {
			return noSuchContainer(row.ID)
		}
		if host := elsewhere(now); host != "" {
			return (&container{Container: now, host: host}).away()
		}
		*row = *now
	}
}

// startCode is the exit code that a failed start leaves in the record.
func startCode(err error) int { return errs.ExitCode(err) }

// failedStart records why a container could not be started, in the state that
// it had before. The caller holds the lock.
func (e *Engine) failedStart(row *state.Container, root *spec.Rootfs, cause error) error {
	err := e.rewrite(row, root, state.Event{}, func(r *lifecycle.Record) {
		r.State = lifecycle.Created
		if !r.FinishedAt.IsZero() {
			r.State = lifecycle.Exited
		}
		r.StartedAt = time.Time{}
		r.ExitCode, r.Error = startCode(cause), cause.Error()
	})
	if errs.Is(err, errs.NotFound) {
		err = nil
	}
	return errors.Join(err, e.clearRun(row.ID))
}

// clearRun removes what a start that came to nothing left: the runtime
// directory, whose lock the caller holds, and the exit file.
func (e *Engine) clearRun(id string) error {
	_ = os.Remove(filepath.Join(e.dirs.Container(id), rundir.ExitFile))
	return os.RemoveAll(e.dirs.ContainerRun(id))
}

// SPDX-License-Identifier: Apache-2.0

// Package dockerdoc turns the facts that libpod returns into Docker's documents:
// types and pure functions. Every front door shows the same ones.
package dockerdoc

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/spec"
)

// The types below are the documents of inspect, in the shape and with the names of
// Docker's API. Names of fields and keys agree, so that templates may use
// either.

// InspectContainer is one container.
type InspectContainer struct {
	Id              string
	Created         string
	Path            string
	Args            []string
	State           *InspectState
	Image           string
	ResolvConfPath  string
	HostnamePath    string
	HostsPath       string
	LogPath         string
	Name            string
	RestartCount    int
	Driver          string
	Platform        string
	MountLabel      string
	ProcessLabel    string
	AppArmorProfile string
	ExecIDs         []string
	HostConfig      *InspectHostConfig
	GraphDriver     InspectDriver
	SizeRw          *int64 `json:",omitempty"`
	SizeRootFs      *int64 `json:",omitempty"`
	Mounts          []InspectMount
	Config          *InspectConfig
	NetworkSettings *InspectNetwork
	ImageName       string
}

// InspectState is what a container is doing.
type InspectState struct {
	Status     string
	Running    bool
	Paused     bool
	Restarting bool
	OOMKilled  bool
	Dead       bool
	Pid        int
	ExitCode   int
	Error      string
	StartedAt  string
	FinishedAt string
	Health     *InspectHealth `json:",omitempty"`
}

// InspectHealth is the outcome of the health checks.
type InspectHealth struct {
	Status        string
	FailingStreak int
	Log           []InspectProbe
}

// InspectProbe is one health check.
type InspectProbe struct {
	Start, End time.Time
	ExitCode   int
	Output     string
}

// InspectDriver is where the root file system lies.
type InspectDriver struct {
	Data map[string]string
	Name string
}

// InspectMount is one mount.
type InspectMount struct {
	Type        string
	Name        string `json:",omitempty"`
	Source      string
	Destination string
	Driver      string `json:",omitempty"`
	Mode        string
	RW          bool
	Propagation string
}

// InspectHealthcheck is a configured check; durations in nanoseconds.
type InspectHealthcheck struct {
	Test          []string
	Interval      time.Duration `json:",omitempty"`
	Timeout       time.Duration `json:",omitempty"`
	StartPeriod   time.Duration `json:",omitempty"`
	StartInterval time.Duration `json:",omitempty"`
	Retries       int           `json:",omitempty"`
}

// InspectConfig is what the container inherits and was given.
type InspectConfig struct {
	Hostname     string
	Domainname   string
	User         string
	AttachStdin  bool
	AttachStdout bool
	AttachStderr bool
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Tty          bool
	OpenStdin    bool
	StdinOnce    bool
	Env          []string
	Cmd          []string
	Healthcheck  *InspectHealthcheck `json:",omitempty"`
	Image        string
	Volumes      map[string]struct{}
	WorkingDir   string
	Entrypoint   []string
	OnBuild      []string
	Labels       map[string]string
	StopSignal   string   `json:",omitempty"`
	StopTimeout  *int     `json:",omitempty"`
	Shell        []string `json:",omitempty"`
}

// InspectBinding is one host address of a published port.
type InspectBinding struct {
	HostIp   string
	HostPort string
}

// InspectNetwork is what the container's network looks like now.
type InspectNetwork struct {
	Bridge                 string
	SandboxID              string
	SandboxKey             string
	Ports                  map[string][]InspectBinding
	HairpinMode            bool
	LinkLocalIPv6Address   string
	LinkLocalIPv6PrefixLen int
	EndpointID             string
	Gateway                string
	GlobalIPv6Address      string
	GlobalIPv6PrefixLen    int
	IPAddress              string
	IPPrefixLen            int
	IPv6Gateway            string
	MacAddress             string
	Networks               map[string]*InspectEndpoint
}

// InspectEndpoint is the attachment to one network.
type InspectEndpoint struct {
	IPAMConfig          *struct{}
	Links               []string
	Aliases             []string
	MacAddress          string
	DriverOpts          map[string]string
	NetworkID           string
	EndpointID          string
	Gateway             string
	IPAddress           string
	IPPrefixLen         int
	IPv6Gateway         string
	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	DNSNames            []string
}

// ContainerDocument makes the document of one container.
func ContainerDocument(d *libpod.Details) *InspectContainer {
	c := &InspectContainer{
		Id: d.ID, Created: stamp(d.Created), Args: []string{}, Name: "/" + d.Name, RestartCount: d.RestartCount,
		Image: "sha256:" + d.Image.ID, ImageName: d.ImageName, LogPath: d.LogPath, Driver: driverName(d.Rootfs.Driver), Platform: "linux",
		AppArmorProfile: d.Spec.Security.AppArmor, State: containerState(d), HostConfig: hostConfig(d), Config: containerConfig(d),
		NetworkSettings: networkSettings(d), Mounts: []InspectMount{},
		GraphDriver: InspectDriver{Name: driverName(d.Rootfs.Driver), Data: rootfsData(d.Rootfs)},
	}
	if len(d.Command) > 0 {
		c.Path, c.Args = d.Command[0], d.Command[1:]
	}
	for _, m := range d.Mounts {
		c.Mounts = append(c.Mounts, InspectMount{Type: string(m.Type), Name: m.Name, Source: m.Source, Destination: m.Destination,
			Driver: m.Driver, Mode: m.Mode, RW: m.RW, Propagation: m.Propagation})
	}
	return c
}

// stamp is a time as the API writes it; the zero time is the year 1.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func driverName(s string) string {
	if s == "overlay" || s == "" {
		return "overlay2"
	}
	return s
}

func rootfsData(r spec.Rootfs) map[string]string {
	data := map[string]string{}
	lowers := make([]string, len(r.Lowers))
	for i, l := range r.Lowers {
		if r.Home != "" && !strings.HasPrefix(l, "/") {
			l = r.Home + "/" + l
		}
		lowers[i] = l
	}
	for k, v := range map[string]string{"LowerDir": strings.Join(lowers, ":"), "UpperDir": r.Upper, "WorkDir": r.Work, "RootDir": r.Dir} {
		if v != "" {
			data[k] = v
		}
	}
	return data
}

func containerState(d *libpod.Details) *InspectState {
	status := string(d.State)
	if d.State == lifecycle.Creating {
		status = string(lifecycle.Created)
	}
	s := &InspectState{
		Status: status, Running: d.State.Live(), Paused: d.State == lifecycle.Paused,
		Restarting: d.State == lifecycle.Restarting, Dead: d.State == lifecycle.Dead,
		StartedAt: stamp(time.Time{}), FinishedAt: stamp(time.Time{}),
	}
	if x := d.Exit; x != nil {
		s.ExitCode, s.OOMKilled, s.Error = x.Code, x.OOMKilled, x.Error
		s.StartedAt, s.FinishedAt = stamp(x.StartedAt), stamp(x.FinishedAt)
	}
	if m := d.Status; m != nil {
		s.Pid, s.ExitCode, s.OOMKilled = m.PID, m.ExitCode, m.OOMKilled
		s.StartedAt = stamp(m.StartedAt)
		if !m.FinishedAt.IsZero() {
			s.FinishedAt = stamp(m.FinishedAt)
		}
		s.Health = healthState(m.Health)
	}
	return s
}

func healthState(h *monitor.HealthStatus) *InspectHealth {
	if h == nil {
		return nil
	}
	out := &InspectHealth{Status: h.Status, FailingStreak: h.FailingStreak, Log: []InspectProbe{}}
	for _, p := range h.Log {
		out.Log = append(out.Log, InspectProbe{Start: p.Start, End: p.End, ExitCode: p.ExitCode, Output: p.Output})
	}
	return out
}

func containerConfig(d *libpod.Details) *InspectConfig {
	p, img := &d.Spec.Process, &d.Image
	c := &InspectConfig{
		Hostname: p.Hostname, Domainname: p.Domainname, User: p.User, Tty: p.TTY, OpenStdin: p.OpenStdin, StdinOnce: p.StdinOnce,
		Env: spec.MergeEnv(img.Env, p.Env, p.UnsetEnv), Cmd: img.Cmd, Image: d.ImageName, WorkingDir: p.Dir, Entrypoint: img.Entrypoint,
		OnBuild: img.OnBuild, Labels: map[string]string{}, StopSignal: d.Spec.Lifecycle.StopSignal, StopTimeout: d.Spec.Lifecycle.StopTimeout,
		Shell: img.Shell,
	}
	if c.Hostname == "" {
		c.Hostname = spec.ShortID(d.ID)
	}
	if c.User == "" {
		c.User = img.User
	}
	if c.WorkingDir == "" {
		c.WorkingDir = img.WorkingDir
	}
	if c.StopSignal == "" {
		c.StopSignal = img.StopSignal
	}
	if p.Entrypoint != nil {
		c.Entrypoint, c.Cmd = *p.Entrypoint, nil
	}
	if len(p.Args) > 0 {
		c.Cmd = p.Args
	}
	for _, m := range []map[string]string{img.Labels, d.Spec.Labels} {
		for k, v := range m {
			c.Labels[k] = v
		}
	}
	c.AttachStdin, c.AttachStdout, c.AttachStderr = attached(p.Attach)
	c.Volumes = set(append(d.Spec.AnonymousVolumes(), img.Volumes...))
	c.ExposedPorts = exposedPorts(d)
	if h := d.Spec.HealthOn(img); h != nil {
		hc := InspectHealthcheck(*h)
		c.Healthcheck = &hc
	}
	return c
}

func attached(streams []string) (in, out, err bool) {
	for _, s := range streams {
		switch s {
		case "stdin":
			in = true
		case "stdout":
			out = true
		case "stderr":
			err = true
		}
	}
	return in, out, err
}

func set(list []string) map[string]struct{} {
	if len(list) == 0 {
		return nil
	}
	m := map[string]struct{}{}
	for _, s := range list {
		m[s] = struct{}{}
	}
	return m
}

func exposedPorts(d *libpod.Details) map[string]struct{} {
	m := set(d.Image.ExposedPorts)
	for _, list := range [][]spec.Port{d.Spec.Network.Expose, d.Spec.Network.Ports} {
		for _, p := range list {
			if m == nil {
				m = map[string]struct{}{}
			}
			m[portKey(p)] = struct{}{}
		}
	}
	return m
}

func portKey(p spec.Port) string { return strconv.Itoa(int(p.ContainerPort)) + "/" + p.Protocol }

func portMap(ports []spec.Port) map[string][]InspectBinding {
	m := map[string][]InspectBinding{}
	for _, p := range ports {
		for _, ip := range HostIPs(p.HostIP) {
			m[portKey(p)] = append(m[portKey(p)], InspectBinding{HostIp: strings.Trim(ip, "[]"), HostPort: strconv.Itoa(int(p.HostPort))})
		}
	}
	return m
}

func networkSettings(d *libpod.Details) *InspectNetwork {
	n := &InspectNetwork{Ports: map[string][]InspectBinding{}, Networks: map[string]*InspectEndpoint{}}
	for _, name := range requestedNetworks(&d.Spec.Network) {
		n.Networks[name] = &InspectEndpoint{}
	}
	if d.Status == nil {
		return n
	}
	at := &d.Status.Attachment
	n.SandboxID = d.ID
	if d.Status.NetnsFD > 0 {
		n.SandboxKey = "/proc/" + strconv.Itoa(d.Status.MonitorPID) + "/fd/" + strconv.Itoa(d.Status.NetnsFD)
	}
	for k := range exposedPorts(d) {
		n.Ports[k] = nil
	}
	for k, v := range portMap(at.Ports) {
		n.Ports[k] = v
	}
	for i := range at.Interfaces {
		ep := endpoint(&at.Interfaces[i], d)
		name := at.Interfaces[i].Network
		if name == "" {
			name = string(at.Mode)
		}
		n.Networks[name] = ep
		if n.IPAddress == "" && (name == string(spec.NetBridge) || at.Mode != spec.NetBridge) {
			n.Gateway, n.IPAddress, n.IPPrefixLen, n.MacAddress = ep.Gateway, ep.IPAddress, ep.IPPrefixLen, ep.MacAddress
			n.IPv6Gateway, n.GlobalIPv6Address, n.GlobalIPv6PrefixLen = ep.IPv6Gateway, ep.GlobalIPv6Address, ep.GlobalIPv6PrefixLen
			n.EndpointID = ep.EndpointID
		}
	}
	return n
}

func requestedNetworks(n *spec.Network) []string {
	switch {
	case n.Mode != "" && n.Mode != spec.NetBridge && n.Mode != spec.NetContainer:
		return []string{string(n.Mode)}
	case n.Mode == spec.NetContainer:
		return nil
	case len(n.Networks) == 0:
		return []string{string(spec.NetBridge)}
	}
	var names []string
	for _, a := range n.Networks {
		names = append(names, a.Name)
	}
	return names
}

func endpoint(i *spec.Interface, d *libpod.Details) *InspectEndpoint {
	ep := &InspectEndpoint{MacAddress: i.MAC, Aliases: i.Aliases, NetworkID: i.Network, EndpointID: d.ID}
	if i.Network != "" {
		for _, name := range append(append([]string{d.Name}, i.Aliases...), spec.ShortID(d.ID)) {
			if !slices.Contains(ep.DNSNames, name) { // aliases may hold the other two
				ep.DNSNames = append(ep.DNSNames, name)
			}
		}
	}
	for _, a := range i.Addrs {
		if a.Addr().Is4() {
			ep.IPAddress, ep.IPPrefixLen = a.Addr().String(), a.Bits()
		} else if !a.Addr().IsLinkLocalUnicast() {
			ep.GlobalIPv6Address, ep.GlobalIPv6PrefixLen = a.Addr().String(), a.Bits()
		}
	}
	for _, g := range i.Gateways {
		setGateway(ep, g)
	}
	return ep
}

func setGateway(ep *InspectEndpoint, g netip.Addr) {
	if g.Is4() {
		ep.Gateway = g.String()
	} else {
		ep.IPv6Gateway = g.String()
	}
}

// HostIPs are the addresses that a port without one is published on, or its own.
func HostIPs(a netip.Addr) []string {
	switch {
	case !a.IsValid():
		return []string{"0.0.0.0", "[::]"}
	case a.Is6():
		return []string{"[" + a.String() + "]"}
	}
	return []string{a.String()}
}

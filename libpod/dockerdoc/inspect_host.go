// SPDX-License-Identifier: Apache-2.0

package dockerdoc

import (
	"fmt"
	"strings"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/spec"
)

// InspectHostConfig is what the container was asked to have of the host.
type InspectHostConfig struct {
	Binds             []string
	ContainerIDFile   string
	LogConfig         InspectLog
	NetworkMode       string
	PortBindings      map[string][]InspectBinding
	RestartPolicy     InspectRestart
	AutoRemove        bool
	VolumeDriver      string
	VolumesFrom       []string
	ConsoleSize       [2]int
	Annotations       map[string]string `json:",omitempty"`
	CapAdd            []string
	CapDrop           []string
	CgroupnsMode      string
	Dns               []string
	DnsOptions        []string
	DnsSearch         []string
	ExtraHosts        []string
	GroupAdd          []string
	IpcMode           string
	Cgroup            string
	Links             []string
	OomScoreAdj       int
	PidMode           string
	Privileged        bool
	PublishAllPorts   bool
	ReadonlyRootfs    bool
	SecurityOpt       []string
	Tmpfs             map[string]string `json:",omitempty"`
	UTSMode           string
	UsernsMode        string
	ShmSize           int64
	Sysctls           map[string]string `json:",omitempty"`
	Runtime           string
	Isolation         string
	CpuShares         uint64
	Memory            int64
	NanoCpus          int64
	CgroupParent      string
	CpuPeriod         uint64
	CpuQuota          int64
	CpusetCpus        string
	CpusetMems        string
	Devices           []InspectDevice
	MemoryReservation int64
	MemorySwap        int64
	MemorySwappiness  *int64
	OomKillDisable    bool
	PidsLimit         *int64
	Ulimits           []InspectUlimit
	Mounts            []InspectMountSpec `json:",omitempty"`
	Init              *bool              `json:",omitempty"`
	MaskedPaths       []string
	ReadonlyPaths     []string
}

// InspectLog is the log driver.
type InspectLog struct {
	Type   string
	Config map[string]string
}

// InspectRestart is the restart policy.
type InspectRestart struct {
	Name              string
	MaximumRetryCount int
}

// InspectDevice is one device.
type InspectDevice struct{ PathOnHost, PathInContainer, CgroupPermissions string }

// InspectUlimit is one limit of the process.
type InspectUlimit struct {
	Name       string
	Hard, Soft int64
}

// InspectMountSpec is one mount as it was asked for.
type InspectMountSpec struct {
	Type     string
	Source   string `json:",omitempty"`
	Target   string
	ReadOnly bool `json:",omitempty"`
}

func hostConfig(d *libpod.Details) *InspectHostConfig {
	s := &d.Spec
	h := &InspectHostConfig{
		ContainerIDFile: s.Lifecycle.CIDFile, LogConfig: InspectLog{Type: orDefault(s.Logging.Driver, "json-file"), Config: s.Logging.Options},
		NetworkMode: networkMode(&s.Network), PortBindings: requestedPorts(s.Network.Ports), AutoRemove: s.Lifecycle.AutoRemove,
		RestartPolicy: InspectRestart{Name: s.Lifecycle.Restart.Name, MaximumRetryCount: s.Lifecycle.Restart.MaxRetries},
		Annotations:   s.Annotations, CapAdd: s.Security.CapAdd, CapDrop: s.Security.CapDrop,
		CgroupnsMode: orDefault(s.Security.CgroupnsMode, "private"), IpcMode: orDefault(s.Security.IpcMode, "private"),
		Dns: []string{}, DnsOptions: list(s.Network.DNS.Options), DnsSearch: list(s.Network.DNS.Search), GroupAdd: s.Process.GroupAdd,
		PidMode: s.Security.PidMode, UTSMode: s.Security.UtsMode, UsernsMode: s.Security.Userns,
		Privileged: s.Security.Privileged, PublishAllPorts: s.Network.PublishAll, ReadonlyRootfs: s.Security.ReadOnly,
		SecurityOpt: securityOpts(&s.Security), Sysctls: s.Security.Sysctls, Runtime: "proa", Devices: []InspectDevice{}, Ulimits: []InspectUlimit{},
		MaskedPaths: list(d.Masked), ReadonlyPaths: list(d.Readonly),
	}
	if h.LogConfig.Config == nil {
		h.LogConfig.Config = map[string]string{}
	}
	if h.RestartPolicy.Name == "" {
		h.RestartPolicy.Name = "no"
	}
	if s.Process.Init {
		h.Init = &s.Process.Init
	}
	for _, a := range s.Network.DNS.Servers {
		h.Dns = append(h.Dns, a.String())
	}
	for _, e := range s.Network.ExtraHosts {
		h.ExtraHosts = append(h.ExtraHosts, e.Name+":"+e.IP)
	}
	for _, v := range s.Security.Devices {
		h.Devices = append(h.Devices, InspectDevice{v.Host, v.Container, v.Permissions})
	}
	hostResources(h, &s.Resources)
	if h.PidsLimit == nil && d.Status != nil && d.Status.PidsLimit != 0 {
		h.PidsLimit = &d.Status.PidsLimit // the default, where it could be set
	}
	hostMounts(h, s.Mounts)
	return h
}

func hostResources(h *InspectHostConfig, r *spec.Resources) {
	h.ShmSize, h.CpuShares, h.Memory, h.NanoCpus, h.CgroupParent = r.ShmSize, r.CPUShares, r.Memory, r.NanoCPUs, r.CgroupParent
	h.CpuPeriod, h.CpuQuota, h.CpusetCpus, h.CpusetMems = r.CPUPeriod, r.CPUQuota, r.CpusetCPUs, r.CpusetMems
	h.MemoryReservation, h.MemorySwap, h.OomKillDisable = r.MemoryReservation, r.MemorySwap, r.OOMKillDisable
	if h.ShmSize == 0 {
		h.ShmSize = 64 << 20
	}
	if r.OOMScoreAdj != nil {
		h.OomScoreAdj = *r.OOMScoreAdj
	}
	if r.PidsLimit != 0 {
		h.PidsLimit = &r.PidsLimit
	}
	for _, u := range r.Ulimits {
		h.Ulimits = append(h.Ulimits, InspectUlimit{u.Name, u.Hard, u.Soft})
	}
}

// hostMounts shows -v and --tmpfs in their short form and keeps the rest.
func hostMounts(h *InspectHostConfig, mounts []spec.Mount) {
	for _, m := range mounts {
		switch {
		case m.Type == spec.MountTmpfs:
			if h.Tmpfs == nil {
				h.Tmpfs = map[string]string{}
			}
			h.Tmpfs[m.Target] = tmpfsOptions(&m)
		case m.Source != "":
			b := m.Source + ":" + m.Target
			if o := mountMode(&m); o != "" {
				b += ":" + o
			}
			h.Binds = append(h.Binds, b)
		default:
			h.Mounts = append(h.Mounts, InspectMountSpec{Type: string(m.Type), Target: m.Target, ReadOnly: m.ReadOnly})
		}
	}
}

func mountMode(m *spec.Mount) string {
	var o []string
	if m.ReadOnly {
		o = append(o, "ro")
	}
	for _, s := range []string{m.Relabel, m.Propagation} {
		if s != "" {
			o = append(o, s)
		}
	}
	if m.Chown {
		o = append(o, "U")
	}
	if m.NoCopy {
		o = append(o, "nocopy")
	}
	return strings.Join(append(o, m.Options...), ",")
}

func tmpfsOptions(m *spec.Mount) string {
	o := append([]string{}, m.Options...)
	if m.ReadOnly {
		o = append(o, "ro")
	}
	if m.TmpfsSize > 0 {
		o = append(o, fmt.Sprintf("size=%d", m.TmpfsSize))
	}
	if m.TmpfsMode > 0 {
		o = append(o, fmt.Sprintf("mode=%o", m.TmpfsMode))
	}
	return strings.Join(o, ",")
}

func networkMode(n *spec.Network) string {
	switch {
	case n.Mode == spec.NetContainer:
		return "container:" + n.Container
	case n.Mode != "" && n.Mode != spec.NetBridge:
		return string(n.Mode)
	case len(n.Networks) > 0:
		return n.Networks[0].Name
	}
	return string(spec.NetBridge)
}

// requestedPorts leaves the host port empty where any will do.
func requestedPorts(ports []spec.Port) map[string][]InspectBinding {
	m := map[string][]InspectBinding{}
	for _, p := range ports {
		b := InspectBinding{}
		if p.HostIP.IsValid() {
			b.HostIp = p.HostIP.String()
		}
		if p.HostPort != 0 {
			b.HostPort = fmt.Sprint(p.HostPort)
		}
		if p.HostPortEnd > p.HostPort {
			b.HostPort += fmt.Sprintf("-%d", p.HostPortEnd)
		}
		m[portKey(p)] = append(m[portKey(p)], b)
	}
	return m
}

func securityOpts(s *spec.Security) []string {
	var o []string
	if s.NoNewPrivs {
		o = append(o, "no-new-privileges")
	}
	switch s.Seccomp {
	case "":
	case "unconfined":
		o = append(o, "seccomp=unconfined")
	default:
		o = append(o, "seccomp="+s.Seccomp)
	}
	if s.AppArmor != "" {
		o = append(o, "apparmor="+s.AppArmor)
	}
	if len(s.Unmask) > 0 {
		o = append(o, "unmask="+strings.Join(s.Unmask, ":"))
	}
	return o
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// InspectImage is one image.
type InspectImage struct {
	Id              string
	RepoTags        []string
	RepoDigests     []string
	Parent          string
	Comment         string
	Created         string
	ContainerConfig *InspectConfig
	Config          *InspectConfig
	Author          string
	Architecture    string
	Variant         string `json:",omitempty"`
	Os              string
	Size            int64
	VirtualSize     int64
	GraphDriver     InspectDriver
	RootFS          InspectRootFS
	Digest          string
	// As podman has them.
	Labels       map[string]string
	Annotations  map[string]string
	ManifestType string
	User         string
	History      []InspectHistory
}

// InspectHistory is a step of an image's making, as its configuration has it.
type InspectHistory struct {
	Created    string `json:"created,omitempty"`
	CreatedBy  string `json:"created_by,omitempty"`
	Author     string `json:"author,omitempty"`
	Comment    string `json:"comment,omitempty"`
	EmptyLayer bool   `json:"empty_layer,omitempty"`
}

// InspectRootFS names the layers.
type InspectRootFS struct {
	Type   string
	Layers []string
}

// ImageDocument makes the document of one image.
func ImageDocument(d *libpod.ImageDetails) *InspectImage {
	cfg := &InspectConfig{
		User: d.Config.User, Env: list(d.Config.Env), Cmd: d.Config.Cmd, Entrypoint: d.Config.Entrypoint, WorkingDir: d.Config.WorkingDir,
		Labels: d.Config.Labels, StopSignal: d.Config.StopSignal, Shell: d.Config.Shell, OnBuild: d.Config.OnBuild,
		ExposedPorts: set(d.Config.ExposedPorts), Volumes: set(d.Config.Volumes),
	}
	if d.Config.Health != nil {
		hc := InspectHealthcheck(*d.Config.Health)
		cfg.Healthcheck = &hc
	}
	data := map[string]string{}
	if len(d.LayerDirs) > 0 {
		data["UpperDir"] = d.LayerDirs[0]
	}
	if len(d.LayerDirs) > 1 {
		data["LowerDir"] = strings.Join(d.LayerDirs[1:], ":")
	}
	steps := make([]InspectHistory, len(d.History))
	for i, h := range d.History {
		steps[i] = InspectHistory{Created: stamp(h.Created), CreatedBy: h.CreatedBy, Author: h.Author, Comment: h.Comment, EmptyLayer: h.EmptyLayer}
	}
	annotations := d.Annotations
	if annotations == nil {
		annotations = map[string]string{}
	}
	return &InspectImage{
		Id: "sha256:" + strings.TrimPrefix(d.ID, "sha256:"), RepoTags: list(d.Names), RepoDigests: list(d.RepoDigests), Parent: d.Parent,
		Comment: d.Comment, Created: stamp(d.Created), ContainerConfig: cfg, Config: cfg, Author: d.Author, Architecture: d.Architecture,
		Variant: d.Variant, Os: d.OS, Size: d.Size, VirtualSize: d.Size, Digest: d.Digest,
		GraphDriver: InspectDriver{Name: "overlay2", Data: data}, RootFS: InspectRootFS{Type: "layers", Layers: list(d.Layers)},
		Labels: d.Config.Labels, Annotations: annotations, ManifestType: d.ManifestType, User: d.Config.User, History: steps,
	}
}

// InspectVolume is one volume.
type InspectVolume struct {
	CreatedAt  string
	Driver     string
	Labels     map[string]string
	Mountpoint string
	Name       string
	Options    map[string]string
	Scope      string
}

// VolumeDocument makes the document of one volume.
func VolumeDocument(v *libpod.Volume) *InspectVolume {
	return &InspectVolume{CreatedAt: v.Created.Format("2006-01-02T15:04:05Z07:00"), Driver: v.Driver, Labels: v.Labels,
		Mountpoint: v.Mountpoint, Name: v.Name, Options: v.Options, Scope: "local"}
}

// SPDX-License-Identifier: Apache-2.0

// Package spec holds what the user asked for, as values: parsed, validated and
// free of any I/O. The same values travel from every front door (command line,
// Compose, Kubernetes YAML, REST API) to libpod, are stored in the database as
// JSON, and are handed to the monitor.
package spec

import "time"

// Container is one request to create a container.
type Container struct {
	Name        string            `json:"name,omitempty"` // empty: a random adjective_scientist
	Image       string            `json:"image"`          // as the user wrote it
	Platform    string            `json:"platform,omitempty"`
	Pull        PullPolicy        `json:"pull,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`

	Process   Process   `json:"process"`
	Mounts    []Mount   `json:"mounts,omitempty"`
	Network   Network   `json:"network"`
	Resources Resources `json:"resources"`
	Security  Security  `json:"security"`
	Logging   Logging   `json:"logging"`
	Lifecycle Lifecycle `json:"lifecycle"`
	Health    *Health   `json:"health,omitempty"` // nil: as the image says
}

// PullPolicy says when to ask the registry.
type PullPolicy string

const (
	PullMissing PullPolicy = "missing"
	PullAlways  PullPolicy = "always"
	PullNever   PullPolicy = "never"
	PullNewer   PullPolicy = "newer"
)

// Process is the container's main process. Nil slices mean "as the image says".
type Process struct {
	Entrypoint *[]string `json:"entrypoint,omitempty"` // nil: the image's; empty: none
	Args       []string  `json:"args,omitempty"`       // replaces CMD where not empty
	Env        []string  `json:"env,omitempty"`        // KEY=VALUE, resolved by the front end
	UnsetEnv   []string  `json:"unsetEnv,omitempty"`
	Localtime  string    `json:"localtime,omitempty"` // the host's file that becomes /etc/localtime
	Dir        string    `json:"dir,omitempty"`
	User       string    `json:"user,omitempty"` // name|uid[:group|gid]
	GroupAdd   []string  `json:"groupAdd,omitempty"`
	Hostname   string    `json:"hostname,omitempty"`
	Domainname string    `json:"domainname,omitempty"`
	TTY        bool      `json:"tty,omitempty"`
	OpenStdin  bool      `json:"openStdin,omitempty"` // -i
	StdinOnce  bool      `json:"stdinOnce,omitempty"` // close stdin when the first attached client leaves
	Attach     []string  `json:"attach,omitempty"`    // -a: stdin, stdout, stderr
	Init       bool      `json:"init,omitempty"`
	InitPath   string    `json:"initPath,omitempty"`
}

// MountType is the kind of a Mount.
type MountType string

const (
	MountBind   MountType = "bind"
	MountVolume MountType = "volume"
	MountTmpfs  MountType = "tmpfs"
)

// Mount is one -v, --mount or --tmpfs.
type Mount struct {
	Type         MountType         `json:"type"`
	Source       string            `json:"source,omitempty"` // host path, or volume name; empty: anonymous volume
	Target       string            `json:"target"`
	ReadOnly     bool              `json:"readOnly,omitempty"`
	Propagation  string            `json:"propagation,omitempty"` // private, rprivate, shared, ...
	NonRecursive bool              `json:"nonRecursive,omitempty"`
	CreateSource bool              `json:"createSource,omitempty"` // -v makes a missing host directory, --mount does not
	Chown        bool              `json:"chown,omitempty"`        // :U
	Relabel      string            `json:"relabel,omitempty"`      // z or Z: no SELinux means nothing to do
	Anonymous    bool              `json:"anonymous,omitempty"`    // a volume whose name, in Source, was made up
	NoCopy       bool              `json:"noCopy,omitempty"`       // do not fill a new volume from the image
	Subpath      string            `json:"subpath,omitempty"`
	Driver       string            `json:"driver,omitempty"`
	DriverOpts   map[string]string `json:"driverOpts,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	TmpfsSize    int64             `json:"tmpfsSize,omitempty"` // bytes; 0: the kernel's default
	TmpfsMode    uint32            `json:"tmpfsMode,omitempty"`
	Options      []string          `json:"options,omitempty"` // further mount(8) options: noexec, nosuid, ...
}

// AnonymousVolumes are the targets of the volumes that got no name.
func (c *Container) AnonymousVolumes() (targets []string) {
	for _, m := range c.Mounts {
		if m.Type == MountVolume && (m.Anonymous || m.Source == "") {
			targets = append(targets, m.Target)
		}
	}
	return targets
}

// Resources are cgroup limits and process limits. Zero means "no limit", except
// for PidsLimit and ShmSize.
type Resources struct {
	Memory            int64    `json:"memory,omitempty"` // bytes
	MemoryReservation int64    `json:"memoryReservation,omitempty"`
	MemorySwap        int64    `json:"memorySwap,omitempty"` // memory plus swap; -1: unlimited
	OOMKillDisable    bool     `json:"oomKillDisable,omitempty"`
	OOMScoreAdj       *int     `json:"oomScoreAdj,omitempty"`
	NanoCPUs          int64    `json:"nanoCPUs,omitempty"` // --cpus in 1e-9 of a CPU
	CPUShares         uint64   `json:"cpuShares,omitempty"`
	CPUPeriod         uint64   `json:"cpuPeriod,omitempty"` // microseconds
	CPUQuota          int64    `json:"cpuQuota,omitempty"`  // microseconds
	CpusetCPUs        string   `json:"cpusetCPUs,omitempty"`
	CpusetMems        string   `json:"cpusetMems,omitempty"`
	PidsLimit         int64    `json:"pidsLimit,omitempty"` // -1: unlimited; 0: 2048 where the controller is delegated
	ShmSize           int64    `json:"shmSize,omitempty"`   // bytes; 0: 64 MiB
	Ulimits           []Ulimit `json:"ulimits,omitempty"`
	CgroupParent      string   `json:"cgroupParent,omitempty"`
}

// Ulimit is one --ulimit; -1 is unlimited.
type Ulimit struct {
	Name string `json:"name"` // nofile, core, ... without RLIMIT_
	Soft int64  `json:"soft"`
	Hard int64  `json:"hard"`
}

// Security is everything that widens or narrows what the process may do.
type Security struct {
	Privileged   bool              `json:"privileged,omitempty"`
	ReadOnly     bool              `json:"readOnly,omitempty"`
	CapAdd       []string          `json:"capAdd,omitempty"` // without CAP_, upper case, or ALL
	CapDrop      []string          `json:"capDrop,omitempty"`
	NoNewPrivs   bool              `json:"noNewPrivs,omitempty"`
	Seccomp      string            `json:"seccomp,omitempty"`  // "" default, "unconfined", or a profile's JSON text
	AppArmor     string            `json:"apparmor,omitempty"` // profile name or "unconfined"
	Mask         []string          `json:"mask,omitempty"`     // further masked paths
	Unmask       []string          `json:"unmask,omitempty"`   // paths not to mask, or ALL
	Devices      []Device          `json:"devices,omitempty"`
	Sysctls      map[string]string `json:"sysctls,omitempty"`
	Userns       string            `json:"userns,omitempty"` // "", host, keep-id[:uid=,gid=], auto, nomap
	PidMode      string            `json:"pidMode,omitempty"`
	IpcMode      string            `json:"ipcMode,omitempty"`
	UtsMode      string            `json:"utsMode,omitempty"`
	CgroupnsMode string            `json:"cgroupnsMode,omitempty"`
}

// Device is one --device.
type Device struct {
	Host        string `json:"host"`
	Container   string `json:"container"`
	Permissions string `json:"permissions"` // of r, w, m
}

// Logging is the log driver and its options, both as the user wrote them.
type Logging struct {
	Driver  string            `json:"driver,omitempty"` // empty: the configured default
	Options map[string]string `json:"options,omitempty"`
}

// Lifecycle is what happens around the process.
type Lifecycle struct {
	AutoRemove  bool    `json:"autoRemove,omitempty"`
	Restart     Restart `json:"restart"`
	StopSignal  string  `json:"stopSignal,omitempty"`  // empty: the image's, else SIGTERM
	StopTimeout *int    `json:"stopTimeout,omitempty"` // seconds; nil: 10; negative: wait for ever
	CIDFile     string  `json:"cidFile,omitempty"`
}

// Restart is a restart policy.
type Restart struct {
	Name       string `json:"name,omitempty"`       // "", no, on-failure, always, unless-stopped
	MaxRetries int    `json:"maxRetries,omitempty"` // on-failure only; 0: without end
}

// Health is a health check. Test is in Docker's form: ["NONE"], ["CMD", ...] or
// ["CMD-SHELL", line].
type Health struct {
	Test          []string      `json:"test,omitempty"`
	Interval      time.Duration `json:"interval,omitempty"`
	Timeout       time.Duration `json:"timeout,omitempty"`
	StartPeriod   time.Duration `json:"startPeriod,omitempty"`
	StartInterval time.Duration `json:"startInterval,omitempty"`
	Retries       int           `json:"retries,omitempty"`
}

// HealthOn is the container's check: what the user left open is filled with what
// the image says. It may be nil, and Test may be NONE.
func (c *Container) HealthOn(img *ImageConfig) *Health {
	if c.Health == nil {
		return img.Health
	}
	h, image := *c.Health, img.Health
	if image == nil {
		return &h
	}
	if len(h.Test) == 0 {
		h.Test = image.Test
	}
	for _, p := range []struct{ to, from *time.Duration }{
		{&h.Interval, &image.Interval}, {&h.Timeout, &image.Timeout},
		{&h.StartPeriod, &image.StartPeriod}, {&h.StartInterval, &image.StartInterval},
	} {
		if *p.to == 0 {
			*p.to = *p.from
		}
	}
	if h.Retries == 0 {
		h.Retries = image.Retries
	}
	return &h
}

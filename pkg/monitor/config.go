// SPDX-License-Identifier: Apache-2.0

// Package monitor has what front end and monitor say to each other, as values: the
// configuration sent at launch, the content of the files that the monitor leaves,
// and the socket's protocol with its framing. The front end's side is in client,
// the monitor's own work in supervisor.
package monitor

import (
	"time"

	"github.com/opencontainers/runc/libcontainer/configs"

	"github.com/proa-containers/proa/pkg/errs/wire"
	"github.com/proa-containers/proa/pkg/rundir"
	"github.com/proa-containers/proa/pkg/spec"
)

// EnvFDs is the variable that tells the monitor its inherited descriptors.
const EnvFDs = "PROA_MONITOR_FDS"

// Program is the name of the monitor's binary.
const Program = "proa-monitor"

// LaunchReply is the one JSON value on the answer pipe.
type LaunchReply struct {
	Status *Status     `json:"status,omitempty"`
	Error  *wire.Error `json:"error,omitempty"`
}

// Config is everything a monitor needs to know; the front end writes it once,
// as JSON, to the launch pipe. All paths are absolute.
type Config struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	DataDir string `json:"dataDir"` // dirs.Container: exit.json, the log, upper and work directories
	RunDir  string `json:"runDir"`  // dirs.ContainerRun: lock, socket, status.json

	Rootfs spec.Rootfs `json:"rootfs"`
	// Container is the complete libcontainer configuration but for what only
	// the monitor knows: the path of the mounted root and of the network
	// namespace.
	Container *configs.Config  `json:"container"`
	Process   Process          `json:"process"`
	Network   spec.NetworkPlan `json:"network"`
	Volumes   []VolumeMount    `json:"volumes,omitempty"`
	Files     Files            `json:"files"`
	// Shm is the /dev/shm of another container, which this one shares; nil: it has its own.
	Shm *SharedShm `json:"shm,omitempty"`
	// Localtime is a file of the host that becomes the container's /etc/localtime.
	Localtime string `json:"localtime,omitempty"`
	// Account is the user's own in the container's passwd and group files, where
	// the container has the user's id; nil: none is added.
	Account *Account     `json:"account,omitempty"`
	Logging spec.Logging `json:"logging"`
	LogPath string       `json:"logPath,omitempty"`
	// LogAttrs are what each record of the log carries beside the line.
	LogAttrs map[string]string `json:"logAttrs,omitempty"`
	Restart  spec.Restart      `json:"restart"`
	// RestartCount is the number of restarts so far.
	RestartCount int `json:"restartCount,omitempty"`
	// Run is the number of this start, which status and exit file repeat.
	Run         int          `json:"run,omitempty"`
	StopSignal  string       `json:"stopSignal"`
	StopTimeout int          `json:"stopTimeout"` // seconds
	Health      *spec.Health `json:"health,omitempty"`
	AutoRemove  bool         `json:"autoRemove,omitempty"`
	// Tethered ends the container when an attached client leaves: a step of a
	// build must not outlive the build.
	Tethered bool `json:"tethered,omitempty"`
	// WaitAttach keeps the process from starting until the first client has
	// attached, over the launch's own connection or over RunDir/sock: a
	// foreground run then sees the first byte.
	WaitAttach bool `json:"waitAttach,omitempty"`
	// Settle is the command that settles the container's record after its end
	// when no front end waits for it: proa's own path and arguments.
	Settle []string `json:"settle,omitempty"`
}

// Process is the main process, resolved but for the user name, which only the
// mounted root file system can tell.
type Process struct {
	Args           []string `json:"args"`
	Env            []string `json:"env"`
	Dir            string   `json:"dir"`
	User           string   `json:"user,omitempty"`
	AdditionalGIDs []string `json:"additionalGIDs,omitempty"` // names or numbers
	TTY            bool     `json:"tty,omitempty"`
	Rows, Cols     uint16   `json:",omitempty"`
	OpenStdin      bool     `json:"openStdin,omitempty"`
	StdinOnce      bool     `json:"stdinOnce,omitempty"`
}

// SharedShm is where the monitor finds another container's /dev/shm, and where it
// mounts it before it is mounted into its own container.
type SharedShm struct {
	Namespace string `json:"namespace"` // path of the other container's mount namespace
	Dir       string `json:"dir"`       // in Files.Dir
}

// Account is a line in passwd and one in group.
type Account struct {
	Name    string `json:"name"`
	Group   string `json:"group"`
	Comment string `json:"comment,omitempty"`
	Home    string `json:"home"`
	UID     int    `json:"uid"`
	GID     int    `json:"gid"`
}

// VolumeMount is a volume, or a part of one, that the monitor prepares before
// the container starts. A bind mount is one, too, where it changes its owner.
type VolumeMount struct {
	// Dir is the directory of the volume itself, which no container sees; it is
	// empty for a bind mount.
	Dir      string `json:"dir,omitempty"`
	HostPath string `json:"hostPath"` // the volume's files, in Dir
	Target   string `json:"target"`
	CopyUp   bool   `json:"copyUp,omitempty"` // filled from the image on first use, as Docker does
	Chown    bool   `json:"chown,omitempty"`  // :U
	// Subpath, below HostPath, is the part that is mounted at Target.
	Subpath string `json:"subpath,omitempty"`
}

// Files are the generated files bind-mounted over the image's. An empty path
// leaves the image's own file alone. The monitor writes them once it knows the
// addresses.
type Files struct {
	// Dir is where the monitor mounts a small file system of its own for the
	// files, and on that the parts of volumes; empty: their directories are there.
	Dir        string `json:"dir,omitempty"`
	Hostname   string `json:"hostname,omitempty"`   // path of the generated /etc/hostname
	Hosts      string `json:"hosts,omitempty"`      // path of the generated /etc/hosts
	ResolvConf string `json:"resolvConf,omitempty"` // path of the generated /etc/resolv.conf
	// ContainerEnv is the path of the generated /run/.containerenv, and what is in it.
	ContainerEnv     string           `json:"containerEnv,omitempty"`
	ContainerEnvText string           `json:"containerEnvText,omitempty"`
	Host             string           `json:"host,omitempty"` // the host name to write
	Domain           string           `json:"domain,omitempty"`
	ExtraHosts       []spec.HostEntry `json:"extraHosts,omitempty"`
}

// Status is RunDir/status.json: replaced atomically by the monitor at each
// change, meaningful only while the monitor holds RunDir/lock.
type Status struct {
	rundir.Head
	StartedAt    time.Time       `json:"startedAt,omitzero"`
	FinishedAt   time.Time       `json:"finishedAt,omitzero"` // of the previous run, with StateRestarting
	ExitCode     int             `json:"exitCode,omitempty"`  // of the previous run
	OOMKilled    bool            `json:"oomKilled,omitempty"`
	RestartCount int             `json:"restartCount,omitempty"`
	Run          int             `json:"run,omitempty"`       // Config.Run
	PidsLimit    int64           `json:"pidsLimit,omitempty"` // in force; 0: none was set
	Attachment   spec.Attachment `json:"attachment"`
	Health       *HealthStatus   `json:"health,omitempty"`
	Warnings     []string        `json:"warnings,omitempty"`
}

// HealthStatus is the outcome of the health checks so far.
type HealthStatus struct {
	Status        string        `json:"status"` // starting, healthy, unhealthy
	FailingStreak int           `json:"failingStreak"`
	Log           []HealthProbe `json:"log,omitempty"` // the last five
}

// HealthProbe is one run of the check.
type HealthProbe struct {
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	ExitCode int       `json:"exitCode"`
	Output   string    `json:"output"`
}

// Exit is DataDir/exit.json: written atomically when the process has ended for
// good, before anybody is told. It is the durable truth about the end; the
// database record follows it.
type Exit struct {
	Code       int       `json:"code"`
	Signal     int       `json:"signal,omitempty"`
	OOMKilled  bool      `json:"oomKilled,omitempty"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	FinishedAt time.Time `json:"finishedAt"`
	Error      string    `json:"error,omitempty"` // why it could not be started
	// Closed is a mount that belongs to the caller and that the process, which failed,
	// could not write to: its user is ClosedTo ("1000:1000").
	Closed   string `json:"closed,omitempty"`
	ClosedTo string `json:"closedTo,omitempty"`
	// Refused says that the kernel did not execute the program, and why.
	Refused      *wire.Error `json:"refused,omitempty"`
	RestartCount int         `json:"restartCount,omitempty"`
	Run          int         `json:"run,omitempty"` // Config.Run
	// StoppedByUser says that stop or kill ended it: unless-stopped and
	// on-failure must not bring it back.
	StoppedByUser bool `json:"stoppedByUser,omitempty"`
}

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// createFlags are the flags that run and create share, in the groups of
// spec.Container.
type createFlags struct {
	set *flagSet

	name     string
	platform platformFlags
	registry registryFlags
	pull     spec.PullPolicy
	replace  bool
	quiet    bool

	labels, labelFiles, annotations []string

	process   processFlags
	mounts    mountFlags
	network   networkFlags
	resources spec.Resources
	security  securityFlags
	life      lifeFlags
	health    spec.HealthFlags
}

type processFlags struct {
	spec.Process
	entrypoint string
	env        []string
	envFiles   []string
	envHost    bool
	httpProxy  bool
	tz         string
	stdin      bool
	attach     []string
}

type mountFlags struct {
	volumes, mounts, tmpfs, from []string
	readOnlyTmpfs                bool
}

type networkFlags struct {
	spec.NetworkFlags
	publish, expose            []string
	publishAll                 bool
	hosts                      []string
	noHosts, noHostname        bool
	dns, dnsSearch, dnsOptions []string
}

type securityFlags struct {
	spec.Security
	opts            []string
	capAdd, capDrop []string
	sysctls         []string
}

type lifeFlags struct {
	remove      bool
	restart     spec.Restart
	stopSignal  string
	stopTimeout *int
	cidfile     string
	logDriver   string
	logOpts     []string
}

func (c *createFlags) register(f *flagSet) {
	c.set = f
	c.registerGeneral(f)
	c.registerProcess(f)
	c.registerMounts(f)
	c.registerNetwork(f)
	resourceFlags(f, &c.resources)
	c.registerSecurity(f)
	c.registerLife(f)
	refuseCreate(f)
}

func (c *createFlags) registerGeneral(f *flagSet) {
	f.text(&c.name, "name", "", "Assign a name to the container")
	c.platform.register(f)
	c.registry.register(f)
	c.registry.registerRetry(f)
	c.registry.registerDecrypt(f)
	parsed(f, &c.pull, "pull", "", "string", "Pull image before running", spec.ParsePullPolicy).oneOf(spec.PullPolicies...).def = "missing"
	f.boolean(&c.replace, "replace", "", "Remove a container of the same name first")
	f.boolean(&c.quiet, "quiet", "q", "Suppress the pull output")
	f.texts(&c.labels, "label", "l", "Set meta data on a container")
	f.texts(&c.labelFiles, "label-file", "", "Read in a line delimited file of labels").suggests(files)
	f.texts(&c.annotations, "annotation", "", "Add an annotation to the container")
}

func (c *createFlags) registerProcess(f *flagSet) {
	p := &c.process
	p.httpProxy = true
	f.text(&p.entrypoint, "entrypoint", "", "Overwrite the default ENTRYPOINT of the image")
	f.texts(&p.env, "env", "e", "Set environment variables").suggests(environment)
	f.texts(&p.envFiles, "env-file", "", "Read in a file of environment variables").suggests(files)
	f.boolean(&p.envHost, "env-host", "", "Pass on the whole environment of the caller")
	f.boolean(&p.httpProxy, "http-proxy", "", "Pass on the proxy variables of the caller")
	f.texts(&p.UnsetEnv, "unsetenv", "", "Unset an environment variable of the image")
	f.text(&p.tz, "tz", "", `Set the time zone: the host's file of it becomes /etc/localtime, "local" being the host's own`)
	f.text(&p.Dir, "workdir", "w", "Working directory inside the container")
	parsed(f, &p.User, "user", "u", "string", "Username or UID (format: <name|uid>[:<group|gid>])", spec.ParseUser)
	f.texts(&p.GroupAdd, "group-add", "", "Add additional groups to join")
	parsed(f, &p.Hostname, "hostname", "h", "string", "Container host name", func(s string) (string, error) { return s, spec.CheckHostname(s) })
	f.text(&p.Domainname, "domainname", "", "Container NIS domain name")
	f.boolean(&p.stdin, "interactive", "i", "Keep STDIN open even if not attached")
	f.boolean(&p.TTY, "tty", "t", "Allocate a pseudo-TTY")
	f.texts(&p.attach, "attach", "a", "Attach to STDIN, STDOUT or STDERR").suggests(words("stdin", "stdout", "stderr"))
	f.boolean(&p.Init, "init", "", "Run an init inside the container that forwards signals and reaps processes")
	f.text(&p.InitPath, "init-path", "", "Path of the init on the host").suggests(files)
}

func (c *createFlags) registerMounts(f *flagSet) {
	c.mounts.readOnlyTmpfs = true
	f.texts(&c.mounts.volumes, "volume", "v", "Bind mount a directory, or mount a volume").
		suggests(volumes).options = spec.VolumeOptions
	mountFlag(f, &c.mounts.mounts, "Attach a filesystem mount to the container")
	f.texts(&c.mounts.tmpfs, "tmpfs", "", "Mount a tmpfs directory")
	f.texts(&c.mounts.from, "volumes-from", "", "Mount volumes from the specified container(s)").suggests(containers)
	f.boolean(&c.mounts.readOnlyTmpfs, "read-only-tmpfs", "", "With --read-only, mount a tmpfs on /run, /tmp and /var/tmp").def = ""
	parsed(f, new(string), "image-volume", "", "string", "", func(s string) (string, error) {
		if s == "anonymous" || s == "bind" {
			return s, nil
		}
		return "", errs.New(errs.Unsupported, "volumes of an image are always anonymous volumes")
	}).hidden = true
}

func (c *createFlags) registerNetwork(f *flagSet) {
	n := &c.network
	f.alias(f.texts(&n.Networks, "network", "", "Connect a container to a network").suggests(networks), "net")
	f.alias(f.texts(&n.Aliases, "network-alias", "", "Add network-scoped alias for the container"), "net-alias")
	f.text(&n.IP, "ip", "", "IPv4 address (e.g., 172.30.100.104)")
	f.text(&n.IP6, "ip6", "", "IPv6 address (e.g., 2001:db8::33)")
	f.text(&n.MAC, "mac-address", "", "Container MAC address (e.g., 92:d0:c6:0a:29:33)")
	f.texts(&n.publish, "publish", "p", "Publish a container's port(s) to the host")
	f.boolean(&n.publishAll, "publish-all", "P", "Publish all exposed ports to random ports")
	f.texts(&n.expose, "expose", "", "Expose a port or a range of ports")
	f.texts(&n.hosts, "add-host", "", "Add a custom host-to-IP mapping (host:ip)")
	f.boolean(&n.noHosts, "no-hosts", "", "Leave the image's own /etc/hosts in place")
	f.boolean(&n.noHostname, "no-hostname", "", "Leave the image's own /etc/hostname in place")
	f.texts(&n.dns, "dns", "", "Set custom DNS servers")
	f.texts(&n.dnsSearch, "dns-search", "", "Set custom DNS search domains")
	f.alias(f.texts(&n.dnsOptions, "dns-option", "", "Set DNS options"), "dns-opt")
}

// resourceFlags are the limits of a container.
func resourceFlags(f *flagSet, r *spec.Resources) {
	parsed(f, &r.Memory, "memory", "m", "bytes", "Memory limit", spec.ParseSize)
	parsed(f, &r.MemoryReservation, "memory-reservation", "", "bytes", "Memory soft limit", spec.ParseSize)
	parsed(f, &r.MemorySwap, "memory-swap", "", "bytes", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap", spec.ParseMemorySwap)
	f.boolean(&r.OOMKillDisable, "oom-kill-disable", "", "Disable OOM Killer")
	f.optInt(&r.OOMScoreAdj, "oom-score-adj", "", "Tune host's OOM preferences (-1000 to 1000)")
	parsed(f, &r.NanoCPUs, "cpus", "", "decimal", "Number of CPUs", spec.ParseCPUs)
	parsed(f, &r.CPUShares, "cpu-shares", "c", "int", "CPU shares (relative weight)", parseUint)
	parsed(f, &r.CPUPeriod, "cpu-period", "", "int", "Limit CPU CFS (Completely Fair Scheduler) period", parseUint)
	parsed(f, &r.CPUQuota, "cpu-quota", "", "int", "Limit CPU CFS (Completely Fair Scheduler) quota", parseInt64)
	parsed(f, &r.CpusetCPUs, "cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)", spec.ParseCpuset)
	parsed(f, &r.CpusetMems, "cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)", spec.ParseCpuset)
	parsed(f, &r.PidsLimit, "pids-limit", "", "int",
		"Tune container pids limit (set -1 for unlimited; 2048 where cgroups are delegated)", parsePidsLimit)
	parsed(f, &r.ShmSize, "shm-size", "", "bytes", "Size of /dev/shm", spec.ParseSize)
	parsedList(f, &r.Ulimits, "ulimit", "", "ulimit", "Ulimit options", spec.ParseUlimit)
	f.text(&r.CgroupParent, "cgroup-parent", "", "Optional parent cgroup for the container")
}

func (c *createFlags) registerSecurity(f *flagSet) {
	s := &c.security
	f.boolean(&s.Privileged, "privileged", "", "Give extended privileges to this container")
	f.boolean(&s.ReadOnly, "read-only", "", "Mount the container's root filesystem as read only")
	f.texts(&s.capAdd, "cap-add", "", "Add Linux capabilities").suggests(words(spec.Capabilities()...))
	f.texts(&s.capDrop, "cap-drop", "", "Drop Linux capabilities").suggests(words(spec.Capabilities()...))
	f.texts(&s.opts, "security-opt", "", "Security Options")
	parsedList(f, &s.Devices, "device", "", "list", "Add a host device to the container", spec.ParseDevice).suggests(files)
	f.texts(&s.sysctls, "sysctl", "", "Sysctl options").typ = "map"
	parsed(f, &s.Userns, "userns", "", "string", "User namespace to use: host, keep-id[:uid=N,gid=N], auto, nomap", spec.ParseUserns).
		suggests(words(spec.UsernsModes...))
	for _, m := range []struct {
		p           *string
		name, usage string
	}{
		{&s.PidMode, "pid", "PID namespace to use: host, container:NAME"}, {&s.IpcMode, "ipc", "IPC mode to use: host, private, shareable, none, container:NAME (of a shareable one)"},
		{&s.UtsMode, "uts", "UTS namespace to use: host, private"}, {&s.CgroupnsMode, "cgroupns", "Cgroup namespace to use: host, private"},
	} {
		parsed(f, m.p, m.name, "", "string", m.usage, func(v string) (string, error) { return spec.ParseNamespaceMode(m.name, v) }).
			suggests(namespaces(m.name))
	}
}

func (c *createFlags) registerLife(f *flagSet) {
	l := &c.life
	f.boolean(&l.remove, "rm", "", "Automatically remove the container when it exits")
	parsed(f, &l.restart, "restart", "", "string", "Restart policy to apply when a container exits", spec.ParseRestart).oneOf(spec.RestartPolicies...).def = "no"
	parsed(f, &l.stopSignal, "stop-signal", "", "string", "Signal to stop the container", checkSignal).suggests(words(spec.SignalNames()...))
	f.optInt(&l.stopTimeout, "stop-timeout", "", "Timeout (in seconds) to stop a container")
	f.text(&l.cidfile, "cidfile", "", "Write the container ID to the file").suggests(files)
	f.text(&l.logDriver, "log-driver", "", "Logging driver for the container").oneOf(libpod.LogDrivers...)
	f.texts(&l.logOpts, "log-opt", "", "Log driver options")
	h := &c.health
	f.text(&h.Cmd, "health-cmd", "", "Command to run to check health")
	f.text(&h.Interval, "health-interval", "", "Time between running the check (ms|s|m|h)").typ = "duration"
	f.text(&h.Timeout, "health-timeout", "", "Maximum time to allow one check to run (ms|s|m|h)").typ = "duration"
	f.text(&h.StartPeriod, "health-start-period", "", "Start period for the container to initialize before starting health-retries countdown").typ = "duration"
	f.text(&h.StartInterval, "health-start-interval", "", "Time between running the check during the start period (ms|s|m|h)").typ = "duration"
	f.integer(&h.Retries, "health-retries", "", "Consecutive failures needed to report unhealthy")
	f.boolean(&h.Disable, "no-healthcheck", "", "Disable any container-specified HEALTHCHECK")
}

// refuseCreate names what Docker and podman have and Proa does not, with the
// reason.
func refuseCreate(f *flagSet) {
	f.refuse("device drivers of vendors are not supported", "pass the device nodes with --device /dev/NAME", "gpus")
	f.refuse("cgroup v2 has no realtime scheduling of the CPU", "use --cpus or --cpu-shares", "cpu-rt-period", "cpu-rt-runtime")
	f.refuse("an unprivileged user is not delegated the io controller", "omit it", "blkio-weight", "blkio-weight-device", "device-read-bps", "device-read-iops", "device-write-bps", "device-write-iops")
	f.refuse("cgroup v2 has no such setting", "omit it", "memory-swappiness", "kernel-memory")
	f.refuse("device rules need privileges over cgroups that an unprivileged user does not have", "use --device", "device-cgroup-rule")
	f.refuse("links are replaced by names on the networks", "put both containers on one network: names resolve there", "link", "link-local-ip")
	f.refuse("volume drivers are given per mount", "use --mount type=volume,volume-driver=NAME", "volume-driver")
	f.refuse("Proa has one runtime, built in", "omit it", "runtime", "isolation", "use-api-socket!")
	f.refuse("storage options belong to the driver that the kernel offers", "omit it", "storage-opt")
	f.refuse("images are verified by signature policy (policy.json)", "omit it", "disable-content-trust!")
	f.refuse("ids are mapped by one map per user", "use --userns keep-id", "uidmap", "gidmap", "subuidname", "subgidname", "hostuser")
	f.refuse("containers start from images", "import the directory: tar -C DIR -c . | proa import - NAME", "rootfs!")
	f.refuse("pods are not implemented", "put the containers on one network, or share it with --network container:NAME", "pod", "pod-id-file", "init-ctr")
	f.refuse("secrets are not implemented", "mount the file read-only: -v ./FILE:/run/secrets/NAME:ro", "secret")
	f.refuse("there is no conmon process", "use --cidfile and \"proa inspect\"", "conmon-pidfile", "pidfile", "sdnotify")
	f.refuse("it is not implemented", "omit it", "cgroup-conf", "cgroups", "chrootdirs",
		"env-merge", "group-entry", "health-log-destination", "health-max-log-count", "health-max-log-size", "health-on-failure",
		"health-startup-cmd", "health-startup-interval", "health-startup-retries", "health-startup-success", "health-startup-timeout",
		"hosts-file", "passwd-entry", "passwd!", "personality", "rdt-class", "requires", "seccomp-policy", "systemd",
		"timeout", "umask", "unsetenv-all!", "preserve-fd", "preserve-fds", "rmi!")
}

// SPDX-License-Identifier: Apache-2.0

package ocispec

import (
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer/configs"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

const (
	minMemory        = 6 << 20
	defaultCPUPeriod = 100_000
	// defaultPidsLimit is podman's. Without it a fork bomb meets the user's own
	// limit, and then no command can fork to stop it.
	defaultPidsLimit = 2048
)

// cgroup turns limits into a cgroup configuration. Without a cgroup that the
// user may write to, limits are refused: a container that silently runs
// without the limit it was given takes the host down one day. -1, "no limit", is
// what a missing controller gives.
func (b *builder) cgroup() error {
	h, r := &b.in.Host, &b.in.Spec.Resources
	if err := checkResources(r, h.CPUs); err != nil {
		return err
	}
	c := &cgroups.Cgroup{Rootless: h.Rootless, Resources: &cgroups.Resources{}}
	b.cfg.Cgroups = c
	if h.Cgroup == "" {
		b.cfg.RootlessCgroups = true
		// With a name instead of a path, libcontainer takes a refusal to make
		// the cgroup as "none", and leaves the process in the caller's.
		c.Name = b.in.ID
		if r.CgroupParent != "" {
			return b.noCgroup("--cgroup-parent")
		}
		return b.needControllers(r)
	}
	if err := b.needControllers(r); err != nil {
		return err
	}
	parent := h.Cgroup
	if h.CgroupSystemd {
		c.Systemd, c.ScopePrefix, c.Name, c.Parent = true, "proa", b.in.ID, firstOf(r.CgroupParent, parent)
	} else {
		c.Path = path.Join("/", firstOf(r.CgroupParent, parent), "proa-"+b.in.ID)
	}
	b.fillResources(c.Resources, r)
	if !h.Rootless {
		c.Devices = b.deviceRules()
	}
	return nil
}

func (b *builder) noCgroup(flag string) error {
	hint := "start it from a systemd user session with a delegated cgroup: systemd-run --user --scope -p Delegate=yes proa ..."
	if !b.in.Host.CgroupV2 {
		hint = "boot the host with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or run it as root"
	}
	reason := firstOf(b.in.Host.CgroupReason, "this host gives an unprivileged user no cgroup to put limits on")
	return errs.WithHint(errs.New(errs.Unsupported, "%s: %s", flag, reason), "%s", firstOf(b.in.Host.CgroupFix, hint))
}

// needControllers refuses a limit whose controller is not at hand.
func (b *builder) needControllers(r *spec.Resources) error {
	for _, w := range []struct {
		wanted           bool
		flag, controller string
	}{
		{r.Memory != 0, "--memory", "memory"},
		{r.MemoryReservation != 0, "--memory-reservation", "memory"},
		{r.MemorySwap > 0, "--memory-swap", "memory"},
		{r.OOMKillDisable, "--oom-kill-disable", "memory"},
		{r.NanoCPUs != 0, "--cpus", "cpu"},
		{r.CPUShares != 0, "--cpu-shares", "cpu"},
		{r.CPUPeriod != 0, "--cpu-period", "cpu"},
		{r.CPUQuota > 0, "--cpu-quota", "cpu"},
		{r.CpusetCPUs != "", "--cpuset-cpus", "cpuset"},
		{r.CpusetMems != "", "--cpuset-mems", "cpuset"},
		{r.PidsLimit > 0, "--pids-limit", "pids"},
	} {
		if !w.wanted {
			continue
		}
		if b.in.Host.Cgroup == "" {
			return b.noCgroup(w.flag)
		}
		if !slices.Contains(b.in.Host.Controllers, w.controller) {
			return errs.WithHint(errs.New(errs.Unsupported, "%s: the cgroup controller %q is not delegated to you", w.flag, w.controller),
				"%s", firstOf(b.in.Host.CgroupFix, "ask the administrator for Delegate=cpu cpuset io memory pids in /etc/systemd/system/user@.service.d/delegate.conf"))
		}
	}
	if r.OOMKillDisable && b.in.Host.CgroupV2 {
		return errs.WithHint(errs.New(errs.Unsupported, "--oom-kill-disable: cgroup v2 has no such setting"), "use --oom-score-adj to protect the container")
	}
	return nil
}

// checkResources has Docker's rules and sentences.
func checkResources(r *spec.Resources, cpus int) error {
	bad := func(hint, format string, args ...any) error {
		return errs.WithHint(errs.New(errs.Invalid, format, args...), "%s", hint)
	}
	switch {
	case r.Memory != 0 && r.Memory < minMemory:
		return bad("raise --memory", "Minimum memory limit allowed is 6MB")
	case r.Memory > 0 && r.MemorySwap > 0 && r.MemorySwap < r.Memory:
		return bad("--memory-swap is memory plus swap", "Minimum memoryswap limit should be larger than memory limit, see usage")
	case r.Memory == 0 && r.MemorySwap > 0:
		return bad("add --memory", "You should always set the Memory limit when using Memoryswap limit, see usage")
	case r.Memory > 0 && r.MemoryReservation > r.Memory:
		return bad("lower --memory-reservation", "Minimum memory limit can not be less than memory reservation limit, see usage")
	case r.NanoCPUs > 0 && r.CPUPeriod > 0:
		return bad("leave out --cpu-period", "Conflicting options: Nano CPUs and CPU Period cannot both be set.")
	case r.NanoCPUs > 0 && r.CPUQuota > 0:
		return bad("leave out --cpu-quota", "Conflicting options: Nano CPUs and CPU Quota cannot both be set.")
	case r.NanoCPUs < 0 || cpus > 0 && r.NanoCPUs > int64(cpus)*1e9:
		return bad("lower --cpus", "Range of CPUs is from 0.01 to %d.00, as there are only %d CPUs available", cpus, cpus)
	case r.CPUPeriod != 0 && (r.CPUPeriod < 1000 || r.CPUPeriod > 1_000_000):
		return bad("give microseconds", "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
	case r.CPUQuota > 0 && r.CPUQuota < 1000:
		return bad("give microseconds", "CPU cfs quota can not be less than 1ms (i.e. 1000)")
	}
	return nil
}

func (b *builder) fillResources(c *cgroups.Resources, r *spec.Resources) {
	has := func(controller string) bool { return slices.Contains(b.in.Host.Controllers, controller) }
	c.Memory, c.MemoryReservation = r.Memory, r.MemoryReservation
	if has("memory") {
		c.MemorySwap = r.MemorySwap
	}
	if r.Memory > 0 && r.MemorySwap == 0 {
		// Docker: as much swap as memory.
		c.MemorySwap = 2 * r.Memory
	}
	c.OomKillDisable = r.OOMKillDisable
	c.CpuPeriod = r.CPUPeriod
	if has("cpu") {
		c.CpuQuota = r.CPUQuota
	}
	if r.NanoCPUs > 0 {
		c.CpuPeriod = defaultCPUPeriod
		c.CpuQuota = max(1000, r.NanoCPUs*defaultCPUPeriod/1e9)
	}
	if r.CPUShares > 0 {
		c.CpuShares = r.CPUShares
		if b.in.Host.CgroupV2 {
			c.CpuWeight = cgroups.ConvertCPUSharesToCgroupV2Value(r.CPUShares)
		}
	}
	c.CpusetCpus, c.CpusetMems = r.CpusetCPUs, r.CpusetMems
	if has("pids") {
		limit := r.PidsLimit
		if limit == 0 {
			limit = defaultPidsLimit
		}
		c.PidsLimit = &limit
	}
}

func (b *builder) oomScore() error {
	adj := b.in.Spec.Resources.OOMScoreAdj
	if adj == nil {
		return nil
	}
	if *adj < -1000 || *adj > 1000 {
		return errs.WithHint(errs.New(errs.Invalid, "Invalid value %d, range for oom score adj is [-1000, 1000]", *adj), "choose --oom-score-adj in that range")
	}
	if own := b.in.Host.OOMScoreAdj; b.in.Host.Rootless && *adj < own {
		// As the others: only root can protect a process better than its parent.
		b.warn(fmt.Sprintf("--oom-score-adj %d: an unprivileged user cannot go below his own value: %d is set", *adj, own))
		adj = &own
	}
	b.cfg.OomScoreAdj = adj
	return nil
}

// rlimitNumbers are the kernel's, by the names of --ulimit.
var rlimitNumbers = map[string]int{
	"cpu": 0, "fsize": 1, "data": 2, "stack": 3, "core": 4, "rss": 5, "nproc": 6, "nofile": 7, "memlock": 8, "as": 9,
	"locks": 10, "sigpending": 11, "msgqueue": 12, "nice": 13, "rtprio": 14, "rttime": 15,
}

func (b *builder) rlimits() error {
	for _, u := range b.in.Spec.Resources.Ulimits {
		n, ok := rlimitNumbers[u.Name]
		if !ok {
			return errs.WithHint(errs.New(errs.Invalid, "invalid ulimit type: %s", u.Name),
				"known are %s", strings.Join(slices.Sorted(maps.Keys(rlimitNumbers)), ", "))
		}
		soft, hard := rlimitValue(u.Soft), rlimitValue(u.Hard)
		if soft > hard {
			return errs.WithHint(errs.New(errs.Invalid, "ulimit soft limit must be less than or equal to hard limit: %d > %d", u.Soft, u.Hard),
				"write --ulimit %s=%d:%d", u.Name, u.Soft, u.Soft)
		}
		// CAP_SYS_RESOURCE counts in the host's namespace only.
		if own, known := b.in.Host.HardLimits[u.Name]; known && b.in.Host.Rootless && hard > own {
			return errs.WithHint(errs.New(errs.Denied, "--ulimit %s: your hard limit is %s, and only root can raise it", u.Name, limitText(own)),
				"use --ulimit %s=%s:%s at most, or have it raised in /etc/security/limits.conf", u.Name, limitText(min(soft, own)), limitText(own))
		}
		b.cfg.Rlimits = append(b.cfg.Rlimits, configs.Rlimit{Type: n, Hard: hard, Soft: soft})
	}
	return nil
}

func rlimitValue(v int64) uint64 {
	if v < 0 {
		return math.MaxUint64
	}
	return uint64(v)
}

func limitText(v uint64) string {
	if v == math.MaxUint64 {
		return "unlimited"
	}
	return strconv.FormatUint(v, 10)
}

// sysctls takes the namespaced ones, and sets Docker's two defaults for a
// network namespace of the container's own.
func (b *builder) sysctls() error {
	ownNet := b.in.Spec.Network.Mode != spec.NetHost && b.in.Spec.Network.Mode != spec.NetContainer
	if ownNet && !b.nested {
		b.cfg.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"}
		// The range is of gids of the user namespace; one that is not mapped
		// makes the write fail.
		b.cfg.Sysctl["net.ipv4.ping_group_range"] = "0 " + strconv.FormatInt(min(idCount(b.in.Host.GIDs)-1, math.MaxInt32), 10)
	}
	for _, k := range slices.Sorted(maps.Keys(b.in.Spec.Security.Sysctls)) {
		if err := b.checkSysctl(k); err != nil {
			return err
		}
		if b.cfg.Sysctl == nil {
			b.cfg.Sysctl = make(map[string]string)
		}
		b.cfg.Sysctl[k] = b.in.Spec.Security.Sysctls[k]
	}
	return nil
}

var ipcSysctls = []string{"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
	"kernel.shmmni", "kernel.shm_rmid_forced"}

func (b *builder) checkSysctl(k string) error {
	refuse := func(hint, format string, args ...any) error {
		return errs.WithHint(errs.New(errs.Invalid, format, args...), "%s", hint)
	}
	switch {
	case strings.ContainsAny(k, "/\x00") || strings.Contains(k, ".."):
		return refuse("write it with single dots", "sysctl '%s' is not allowed", k)
	case slices.Contains(ipcSysctls, k) || strings.HasPrefix(k, "fs.mqueue."):
		if b.hostIPC() {
			return refuse("leave out --ipc=host", "sysctl %q is not allowed in the hosts ipc namespace", k)
		}
	case strings.HasPrefix(k, "net."):
		if b.in.Spec.Network.Mode == spec.NetHost {
			return refuse("use a network of the container's own, as --network bridge", "sysctl %q not allowed in host network namespace", k)
		}
	case k == "kernel.hostname":
		return refuse("use --hostname", "sysctl %q is not allowed as it conflicts with the OCI %q field", k, "hostname")
	case k == "kernel.domainname":
		if b.in.Spec.Security.UtsMode == "host" {
			return refuse("leave out --uts=host", "sysctl %q is not in a separate kernel namespace", k)
		}
	default:
		return refuse("only kernel.msg*, kernel.sem, kernel.shm*, fs.mqueue.*, kernel.domainname and net.* belong to a container",
			"sysctl %q is not in a separate kernel namespace", k)
	}
	return nil
}

// String names the limits for a log line.
func (d HostDevice) String() string {
	return fmt.Sprintf("%c %d:%d %s", d.Type, d.Major, d.Minor, d.Path)
}

// SPDX-License-Identifier: Apache-2.0

package ocispec

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	profile "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// Unconfined is the value of --security-opt seccomp= and apparmor= that turns
// the mechanism off.
const Unconfined = "unconfined"

func (b *builder) seccomp() error {
	sec := &b.in.Spec.Security
	text := sec.Seccomp
	if text == Unconfined || sec.Privileged && text == "" {
		return nil
	}
	if !b.in.Host.Seccomp {
		if text == "" {
			b.warn("the kernel has no seccomp filters: the container runs without the default profile")
			return nil
		}
		return errs.WithHint(errs.New(errs.Unsupported, "the kernel has no seccomp filters"), "use --security-opt seccomp=unconfined")
	}
	var p *profile.Seccomp
	if text == "" {
		p = defaultProfile(b.in.Host.Arch, b.in.Image.Architecture)
	} else {
		p = &profile.Seccomp{}
		if err := json.Unmarshal([]byte(text), p); err != nil {
			return errs.WithHint(&errs.Error{Op: "read seccomp profile", Kind: errs.Invalid, Err: err},
				"give a JSON file in Docker's format, or \"unconfined\"")
		}
	}
	cfg, err := convertSeccomp(p, &b.in.Host, b.cfg.Capabilities.Bounding)
	if err != nil {
		return errs.WithHint(&errs.Error{Op: "use seccomp profile", Kind: errs.Invalid, Err: err},
			"compare it with Docker's default profile, or use --security-opt seccomp=unconfined")
	}
	b.cfg.Seccomp = cfg
	return nil
}

// defaultProfile is Docker's, but for socketcall, the way to all socket calls
// of 32-bit x86 programs. Its arguments lie in memory, where no filter sees
// them: through it any process gets the address families that the profile
// forbids to socket, such as AF_VSOCK. Only an image of such programs has it;
// the others make 32-bit calls by hand. ENOSYS makes musl use the calls
// themselves.
func defaultProfile(hostArch, imageArch string) *profile.Seccomp {
	p := profile.DefaultProfile()
	if hostArch != "amd64" || imageArch == "386" {
		return p
	}
	const name = "socketcall"
	for _, call := range p.Syscalls {
		call.Names = slices.DeleteFunc(call.Names, func(n string) bool { return n == name })
	}
	// A rule of its own, or the filter would derive one from that of socket.
	enosys := uint(unix.ENOSYS)
	p.Syscalls = append(p.Syscalls, &profile.Syscall{LinuxSyscall: specs.LinuxSyscall{
		Names: []string{name}, Action: specs.ActErrno, ErrnoRet: &enosys}})
	return p
}

// convertSeccomp filters p by architecture, capabilities and kernel, and puts
// it in libcontainer's form.
func convertSeccomp(p *profile.Seccomp, h *Host, caps []string) (*configs.Seccomp, error) {
	if p.DefaultAction == "" && len(p.Syscalls) == 0 {
		return nil, nil
	}
	if len(p.Architectures) > 0 && len(p.ArchMap) > 0 {
		return nil, errors.New("both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'")
	}
	def, ok := seccompActions[p.DefaultAction]
	if !ok {
		return nil, fmt.Errorf("unknown default action %q", p.DefaultAction)
	}
	if p.ListenerPath != "" || p.DefaultAction == specs.ActNotify {
		return nil, errors.New("a profile with a listener (SCMP_ACT_NOTIFY) is not supported")
	}
	cfg := &configs.Seccomp{DefaultAction: def, DefaultErrnoRet: p.DefaultErrnoRet}
	if err := seccompArches(cfg, p, h); err != nil {
		return nil, err
	}
	cfg.Flags = p.Flags
	if p.Flags == nil && h.kernelAtLeast(4, 17) {
		// As runc does: without it every process under a filter pays for the
		// mitigation of speculative store bypass.
		cfg.Flags = []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagSpecAllow}
	}
	return cfg, seccompRules(cfg, p, h, caps)
}

func seccompArches(cfg *configs.Seccomp, p *profile.Seccomp, h *Host) error {
	arches := p.Architectures
	native := goArchToSeccomp[h.Arch].arch
	for _, m := range p.ArchMap {
		if m.Arch == native {
			arches = append([]specs.Arch{m.Arch}, m.SubArches...)
			// The 31-bit mode of s390x has numbers that our filters do not
			// know; its programs are killed, as those of any other machine.
			arches = slices.DeleteFunc(arches, func(a specs.Arch) bool { return a == specs.ArchS390 })
			break
		}
	}
	for _, a := range arches {
		name, ok := seccompArchNames[a]
		if !ok {
			return fmt.Errorf("unknown architecture %q", a)
		}
		cfg.Architectures = append(cfg.Architectures, name)
	}
	return nil
}

func seccompRules(cfg *configs.Seccomp, p *profile.Seccomp, h *Host, caps []string) error {
	n := 0
	for _, call := range p.Syscalls {
		n += max(1, len(call.Names))
	}
	// One backing array instead of hundreds of small objects.
	backing := make([]configs.Syscall, 0, n)
	for _, call := range p.Syscalls {
		if !applies(call, h, caps) {
			continue
		}
		action, ok := seccompActions[call.Action]
		if !ok {
			return fmt.Errorf("unknown action %q", call.Action)
		}
		if call.Action == specs.ActNotify {
			return errors.New("a profile with a listener (SCMP_ACT_NOTIFY) is not supported")
		}
		if action == cfg.DefaultAction && sameErrno(action, call.ErrnoRet, cfg.DefaultErrnoRet) {
			// Says what happens anyway.
			continue
		}
		args, err := seccompArgs(call.Args)
		if err != nil {
			return err
		}
		names := call.Names
		//lint:ignore SA1019 users' profiles have it
		if old := call.Name; old != "" {
			if len(names) != 0 {
				return errors.New("both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'")
			}
			names = []string{old}
		}
		for _, name := range names {
			backing = append(backing, configs.Syscall{Name: name, Action: action, ErrnoRet: call.ErrnoRet, Args: args})
		}
	}
	cfg.Syscalls = make([]*configs.Syscall, len(backing))
	for i := range backing {
		cfg.Syscalls[i] = &backing[i]
	}
	return nil
}

func sameErrno(a configs.Action, x, y *uint) bool {
	if a != configs.Errno && a != configs.Trace {
		return true
	}
	return x == nil && y == nil || x != nil && y != nil && *x == *y
}

func seccompArgs(args []specs.LinuxSeccompArg) ([]*configs.Arg, error) {
	var out []*configs.Arg
	for _, a := range args {
		op, ok := seccompOps[a.Op]
		if !ok {
			return nil, fmt.Errorf("unknown operator %q", a.Op)
		}
		if a.Index > 5 {
			return nil, fmt.Errorf("argument index %d is above 5", a.Index)
		}
		out = append(out, &configs.Arg{Index: a.Index, Value: a.Value, ValueTwo: a.ValueTwo, Op: op})
	}
	return out, nil
}

// applies evaluates a rule's conditions.
func applies(call *profile.Syscall, h *Host, caps []string) bool {
	arch := goArchToSeccomp[h.Arch].libseccomp
	if f := call.Excludes; f != nil {
		if slices.Contains(f.Arches, arch) {
			return false
		}
		for _, c := range f.Caps {
			if slices.Contains(caps, c) {
				return false
			}
		}
		if f.MinKernel != nil && h.kernelAtLeast(int(f.MinKernel.Kernel), int(f.MinKernel.Major)) {
			return false
		}
	}
	if f := call.Includes; f != nil {
		if len(f.Arches) > 0 && !slices.Contains(f.Arches, arch) {
			return false
		}
		for _, c := range f.Caps {
			if !slices.Contains(caps, c) {
				return false
			}
		}
		if f.MinKernel != nil && !h.kernelAtLeast(int(f.MinKernel.Kernel), int(f.MinKernel.Major)) {
			return false
		}
	}
	return true
}

var goArchToSeccomp = map[string]struct {
	libseccomp string // the name in a profile's "arches"
	arch       specs.Arch
}{
	"386":     {"x86", specs.ArchX86},
	"amd64":   {"amd64", specs.ArchX86_64},
	"arm":     {"arm", specs.ArchARM},
	"arm64":   {"arm64", specs.ArchAARCH64},
	"loong64": {"loongarch64", specs.ArchLOONGARCH64},
	"ppc64le": {"ppc64le", specs.ArchPPC64LE},
	"riscv64": {"riscv64", specs.ArchRISCV64},
	"s390x":   {"s390x", specs.ArchS390X},
}

// seccompArchNames are libseccomp's names, which libcontainer's form uses.
var seccompArchNames = map[specs.Arch]string{
	specs.ArchX86:         "x86",
	specs.ArchX86_64:      "amd64",
	specs.ArchX32:         "x32",
	specs.ArchARM:         "arm",
	specs.ArchAARCH64:     "arm64",
	specs.ArchLOONGARCH64: "loong64",
	specs.ArchMIPS:        "mips",
	specs.ArchMIPS64:      "mips64",
	specs.ArchMIPS64N32:   "mips64n32",
	specs.ArchMIPSEL:      "mipsel",
	specs.ArchMIPSEL64:    "mipsel64",
	specs.ArchMIPSEL64N32: "mipsel64n32",
	specs.ArchPPC:         "ppc",
	specs.ArchPPC64:       "ppc64",
	specs.ArchPPC64LE:     "ppc64le",
	specs.ArchRISCV64:     "riscv64",
	specs.ArchS390:        "s390",
	specs.ArchS390X:       "s390x",
}

var seccompActions = map[specs.LinuxSeccompAction]configs.Action{
	specs.ActKill:        configs.Kill,
	specs.ActKillProcess: configs.KillProcess,
	specs.ActKillThread:  configs.KillThread,
	specs.ActTrap:        configs.Trap,
	specs.ActErrno:       configs.Errno,
	specs.ActTrace:       configs.Trace,
	specs.ActAllow:       configs.Allow,
	specs.ActLog:         configs.Log,
	specs.ActNotify:      configs.Notify,
}

var seccompOps = map[specs.LinuxSeccompOperator]configs.Operator{
	specs.OpNotEqual:     configs.NotEqualTo,
	specs.OpLessThan:     configs.LessThan,
	specs.OpLessEqual:    configs.LessThanOrEqualTo,
	specs.OpEqualTo:      configs.EqualTo,
	specs.OpGreaterEqual: configs.GreaterThanOrEqualTo,
	specs.OpGreaterThan:  configs.GreaterThan,
	specs.OpMaskedEqual:  configs.MaskEqualTo,
}

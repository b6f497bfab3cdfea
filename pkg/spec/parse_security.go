// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Capabilities are all capabilities that Linux knows, without CAP_.
var capabilities = []string{"AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE",
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE",
	"LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW",
	"PERFMON", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE",
	"SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM"}

// Capabilities are the words of --cap-add and --cap-drop.
func Capabilities() []string { return append([]string{"ALL"}, capabilities...) }

// ParseCaps parses --cap-add or --cap-drop values into upper case names
// without CAP_; a value may list several by commas.
func ParseCaps(values []string) ([]string, error) {
	var caps []string
	for _, v := range values {
		for _, c := range strings.Split(v, ",") {
			name := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(c)), "CAP_")
			if name != "ALL" && !slices.Contains(capabilities, name) {
				return nil, invalid("see capabilities(7) for the names, or write ALL", "invalid capability: %q", c)
			}
			if !slices.Contains(caps, name) {
				caps = append(caps, name)
			}
		}
	}
	return caps, nil
}

const deviceHint = "write --device /dev/NAME[:/dev/NAME[:rwm]]"

// ParseDevice parses one --device: HOST[:CONTAINER][:rwm].
func ParseDevice(value string) (Device, error) {
	parts := strings.Split(value, ":")
	d := Device{Host: parts[0], Container: parts[0], Permissions: "rwm"}
	switch len(parts) {
	case 1:
	case 2:
		if validDeviceMode(parts[1]) {
			d.Permissions = parts[1]
		} else {
			d.Container = parts[1]
		}
	case 3:
		d.Container, d.Permissions = parts[1], parts[2]
	default:
		return Device{}, invalid(deviceHint, "invalid device specification: %s", value)
	}
	if strings.Contains(value, "=") && !strings.HasPrefix(value, "/") {
		return Device{}, unsupported("use --device /dev/NAME", "CDI devices are not supported: %s", value)
	}
	if !validDeviceMode(d.Permissions) {
		return Device{}, invalid(deviceHint, "invalid device mode: %s", d.Permissions)
	}
	if !path.IsAbs(d.Host) || !path.IsAbs(d.Container) {
		return Device{}, invalid(deviceHint, "invalid device specification: %s: not an absolute path", value)
	}
	d.Host, d.Container = path.Clean(d.Host), path.Clean(d.Container)
	return d, nil
}

func validDeviceMode(s string) bool {
	return s != "" && len(s) <= 3 && strings.Trim(s, "rwm") == "" &&
		strings.Count(s, "r") <= 1 && strings.Count(s, "w") <= 1 && strings.Count(s, "m") <= 1
}

// SecurityHost is what --security-opt needs from the host.
type SecurityHost struct {
	ReadFile func(string) ([]byte, error) // seccomp=FILE
	SELinux  bool
}

// ApplySecurityOpt adds one --security-opt to s.
func (s *Security) ApplySecurityOpt(value string, host SecurityHost) error {
	if value == "no-new-privileges" {
		s.NoNewPrivs = true
		return nil
	}
	key, val, ok := strings.Cut(value, "=")
	if !ok {
		key, val, ok = strings.Cut(value, ":")
	}
	if !ok || val == "" {
		return invalid("one of no-new-privileges, seccomp=unconfined|FILE, apparmor=PROFILE, mask=PATHS, unmask=PATHS|ALL",
			"invalid --security-opt: %q", value)
	}
	switch key {
	case "no-new-privileges":
		b, err := parseBool(key, val, true)
		s.NoNewPrivs = b
		return err
	case "seccomp":
		return s.setSeccomp(val, host.ReadFile)
	case "apparmor":
		s.AppArmor = val
	case "label":
		if val != "disable" && !host.SELinux {
			return unsupported("omit it: there is nothing to label", "--security-opt label=%s: this host has no SELinux", val)
		} else if val != "disable" {
			return unsupported("write label=disable", "--security-opt label=%s: SELinux labels are not supported", val)
		}
	case "systempaths":
		if val != "unconfined" {
			return invalid("write systempaths=unconfined", "invalid --security-opt: %q", value)
		}
		s.Unmask = append(s.Unmask, "ALL")
	case "mask":
		return appendPaths(&s.Mask, val, false)
	case "unmask":
		return appendPaths(&s.Unmask, val, true)
	case "writable-cgroups", "proc-opts", "credentialspec":
		return unsupported("omit it", "--security-opt %s is not supported", key)
	default:
		return invalid("one of no-new-privileges, seccomp=, apparmor=, mask=, unmask=", "invalid --security-opt: %q", value)
	}
	return nil
}

func (s *Security) setSeccomp(val string, readFile func(string) ([]byte, error)) error {
	switch val {
	case "unconfined":
		s.Seccomp = val
	case "builtin", "default":
		s.Seccomp = ""
	default:
		b, err := readFile(val)
		if err != nil {
			return invalid("give a file with a seccomp profile, or unconfined", "opening seccomp profile (%s) failed: %w", val, err)
		}
		s.Seccomp = string(b)
	}
	return nil
}

func appendPaths(to *[]string, val string, all bool) error {
	for _, p := range strings.Split(val, ":") {
		if all && strings.EqualFold(p, "all") {
			*to = append(*to, "ALL")
			continue
		}
		if !filepath.IsAbs(p) {
			return invalid("list absolute paths separated by colons", "path %q is not absolute", p)
		}
		*to = append(*to, filepath.Clean(p))
	}
	return nil
}

// ParseSysctls parses --sysctl values.
func ParseSysctls(values []string) (map[string]string, error) {
	m, err := ParseKeyValues("sysctl", values)
	if err != nil {
		return nil, err
	}
	for k := range m {
		if !namespacedSysctl(k) {
			return nil, invalid("only kernel.msg*, kernel.sem, kernel.shm*, fs.mqueue.*, net.*, kernel.domainname and kernel.hostname belong to a container",
				"sysctl '%s' is not allowed", k)
		}
	}
	return m, nil
}

func namespacedSysctl(k string) bool {
	if strings.Contains(k, "/") || strings.Contains(k, "..") {
		return false
	}
	switch k {
	case "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
		"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.domainname", "kernel.hostname":
		return true
	}
	return strings.HasPrefix(k, "net.") || strings.HasPrefix(k, "fs.mqueue.")
}

// UsernsModes are the words of --userns.
var UsernsModes = []string{"host", "keep-id", "auto", "nomap"}

// ParseUserns checks --userns.
func ParseUserns(value string) (string, error) {
	const hint = "write --userns host, keep-id[:uid=N,gid=N], auto or nomap"
	mode, opts, has := strings.Cut(value, ":")
	switch mode {
	case "", "host", "nomap", "auto":
		if has && mode != "auto" {
			return "", invalid(hint, "--userns %s takes no options", mode)
		}
		if has {
			return "", unsupported(hint, "--userns auto with options is not supported")
		}
		return mode, nil
	case "private":
		return "", unsupported("omit --userns: containers of a user already share a user namespace of their own", "--userns private is not supported")
	case "container", "ns":
		return "", unsupported(hint, "--userns %s: joining another user namespace is not supported", value)
	case "keep-id":
	default:
		return "", invalid(hint, "unknown user namespace mode %q", value)
	}
	if !has {
		return value, nil
	}
	for _, o := range strings.Split(opts, ",") {
		k, v, _ := strings.Cut(o, "=")
		if n, err := strconv.ParseUint(v, 10, 31); (k != "uid" && k != "gid") || err != nil || n > 1<<31-2 {
			return "", invalid(hint, "invalid option %q of --userns keep-id", o)
		}
	}
	return value, nil
}

// NamespaceModes are the words of --pid, --ipc, --uts or --cgroupns; a name follows one
// that ends in a colon.
func NamespaceModes(flag string) []string {
	return map[string][]string{
		"pid": {"host", "private", "container:"}, "ipc": {"host", "private", "shareable", "none", "container:"},
		"uts": {"host", "private"}, "cgroupns": {"host", "private"},
	}[flag]
}

// ParseNamespaceMode checks --pid, --ipc, --uts and --cgroupns.
func ParseNamespaceMode(flag, value string) (string, error) {
	allowed := NamespaceModes(flag)
	for _, a := range allowed {
		if value == a && !strings.HasSuffix(a, ":") || strings.HasSuffix(a, ":") && strings.HasPrefix(value, a) && len(value) > len(a) {
			return value, nil
		}
	}
	if value == "" {
		return "", nil
	}
	return "", invalid("--"+flag+" is one of "+strings.Join(allowed, ", "), "--%s: invalid %s mode %q", flag, strings.ToUpper(flag), value)
}

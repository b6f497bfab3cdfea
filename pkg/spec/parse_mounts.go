// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const volumeHint = "write [SOURCE:]TARGET[:OPTIONS], SOURCE being a directory (/data, ./data) or the name of a volume"

// FromDir makes a path of the command line absolute. A relative one begins at
// dir, which is empty where the working directory cannot be told: it was deleted.
func FromDir(dir, p string) (string, error) {
	switch {
	case filepath.IsAbs(p):
		return filepath.Clean(p), nil
	case dir == "":
		return "", invalid("change to a directory that exists, or write an absolute path",
			"cannot resolve the relative path %q: the working directory was deleted or cannot be read", p)
	}
	return filepath.Join(dir, p), nil
}

// ParseVolume parses one -v value. A source that starts with a dot is taken
// from baseDir, as in FromDir.
func ParseVolume(value, baseDir string) (Mount, error) {
	parts := strings.Split(value, ":")
	if len(parts) > 3 || value == "" {
		return Mount{}, invalid(volumeHint, "invalid volume specification: '%s'", value)
	}
	for _, p := range parts {
		if p == "" {
			return Mount{}, invalid(volumeHint, "invalid spec: %s: empty section between colons", value)
		}
	}
	m := Mount{Type: MountVolume, Target: parts[0]}
	if len(parts) == 2 && !strings.HasPrefix(parts[1], "/") && parts[0][0] == '/' && isVolumeMode(parts[1]) {
		// podman's form "TARGET:OPTIONS" of an anonymous volume.
		parts = []string{"", parts[0], parts[1]}
		m.Target = parts[1]
	} else if len(parts) > 1 {
		m.Target = parts[1]
		if err := m.setSource(parts[0], baseDir); err != nil {
			return Mount{}, err
		}
	}
	if len(parts) == 3 {
		if err := m.setVolumeMode(parts[2]); err != nil {
			return Mount{}, err
		}
	}
	return m.checked()
}

// setSource tells a host path from the name of a volume, as Docker does.
func (m *Mount) setSource(src, baseDir string) error {
	switch {
	case strings.HasPrefix(src, "/"):
		m.Type, m.Source, m.CreateSource = MountBind, filepath.Clean(src), true
	case src == "." || src == ".." || strings.HasPrefix(src, "./") || strings.HasPrefix(src, "../"):
		p, err := FromDir(baseDir, src)
		if err != nil {
			return err
		}
		m.Type, m.Source, m.CreateSource = MountBind, p, true
	default:
		if err := CheckVolumeName(src); err != nil {
			return err
		}
		m.Source = src
	}
	return nil
}

// CheckVolumeName reports whether name can name a volume.
func CheckVolumeName(name string) error {
	if validName(name) {
		return nil
	}
	hint := "start the name with a letter or digit"
	if strings.ContainsRune(name, '/') {
		hint = "write ./" + name + " for a directory below this one"
	}
	return invalid(hint, "%q includes invalid characters for a local volume name, only %q are allowed. If you intended to pass a host directory, use absolute path",
		name, "[a-zA-Z0-9][a-zA-Z0-9_.-]")
}

// validName is Docker's rule for names of containers, volumes and networks:
// [a-zA-Z0-9][a-zA-Z0-9_.-]+ (one character suffices here, as for volumes).
func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '_' || c == '.' || c == '-'):
		default:
			return false
		}
	}
	return s != ""
}

func isVolumeMode(s string) bool {
	m := Mount{Type: MountVolume}
	return m.setVolumeMode(s) == nil
}

var modeHint = "the options of -v are " + OptionNames(VolumeOptions)

func (m *Mount) setVolumeMode(modes string) error {
	bad := invalid(modeHint, "invalid mode: %s", modes)
	rw, seen := false, map[string]bool{}
	for _, o := range strings.Split(modes, ",") {
		class := o
		switch o {
		case "ro", "readonly":
			m.ReadOnly, class = true, "rw"
		case "rw":
			rw, class = true, "rw"
		case "z", "Z":
			m.Relabel, class = o, "z"
		case "U":
			m.Chown = true
		case "nocopy":
			if m.Type != MountVolume {
				return invalid("nocopy is for named volumes: a host directory is never filled", "invalid mode: %s", modes)
			}
			m.NoCopy = true
		case "copy", "consistent", "cached", "delegated", "rbind", "exec", "suid", "dev":
			// What happens anyway on Linux.
		case "bind":
			m.NonRecursive = true
		case "private", "rprivate", "shared", "rshared", "slave", "rslave":
			if m.Type != MountBind {
				return invalid("propagation is for host directories", "invalid mode: %s", modes)
			}
			m.Propagation, class = o, "propagation"
		case "noexec", "nosuid", "nodev", "noatime":
			m.Options = append(m.Options, o)
		case "O":
			return unsupported("mount it :ro, or copy it into a volume", "overlay mounts (:O) are not supported")
		default:
			return bad
		}
		if seen[class] {
			return bad
		}
		seen[class] = true
	}
	if rw && m.ReadOnly {
		return bad
	}
	return nil
}

// checked validates what all kinds of mounts share.
func (m Mount) checked() (Mount, error) {
	if !path.IsAbs(m.Target) {
		return Mount{}, invalid("start the path in the container with /", "invalid mount path: '%s' mount path must be absolute", m.Target)
	}
	m.Target = path.Clean(m.Target)
	if m.Target == "/" {
		return Mount{}, invalid("mount to a directory below /", "invalid specification: destination can't be '/'")
	}
	if strings.ContainsRune(m.Source, 0) || strings.ContainsRune(m.Target, 0) {
		return Mount{}, invalid(volumeHint, "invalid mount path: it contains a zero byte")
	}
	return m, nil
}

// ParseTmpfs parses one --tmpfs value: TARGET[:OPTIONS].
func ParseTmpfs(value string) (Mount, error) {
	target, opts, has := strings.Cut(value, ":")
	m := Mount{Type: MountTmpfs, Target: target}
	if has && opts != "" {
		for _, o := range strings.Split(opts, ",") {
			if err := m.addTmpfsOption(o); err != nil {
				return Mount{}, err
			}
		}
	}
	return m.checked()
}

func (m *Mount) addTmpfsOption(o string) error {
	key, val, has := strings.Cut(o, "=")
	switch key {
	case "ro":
		m.ReadOnly = true
	case "rw":
		m.ReadOnly = false
	case "exec", "noexec", "suid", "nosuid", "dev", "nodev", "sync", "async", "atime", "noatime",
		"diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime":
		m.Options = append(m.Options, key)
	case "size":
		if percent, ok := strings.CutSuffix(val, "%"); ok {
			if _, err := strconv.ParseUint(percent, 10, 32); err != nil {
				return invalid("write a size such as 64m, or a part of the memory such as 50%", "invalid value for size: %s", val)
			}
			m.Options = append(m.Options, o)
			return nil
		}
		n, err := ParseSize(val)
		if err != nil {
			return err
		}
		m.TmpfsSize = n
	case "mode":
		n, err := strconv.ParseUint(val, 8, 32)
		if err != nil || n > 0o7777 {
			return invalid("write an octal mode such as 1777", "invalid value for mode: %s", val)
		}
		m.TmpfsMode = uint32(n)
	case "uid", "gid":
		if n, err := strconv.ParseUint(val, 10, 32); err != nil || int64(n) > MaxID {
			return invalid(fmt.Sprintf("write a number from 0 to %d: names are not looked up here", MaxID),
				"invalid value for %s: %s", key, val)
		}
		m.Options = append(m.Options, o)
	case "nr_inodes", "nr_blocks":
		n, err := ParseSize(val)
		if err != nil {
			return invalid("write a number such as 10000 or 10k", "invalid value for %s: %s", key, val)
		}
		m.Options = append(m.Options, fmt.Sprintf("%s=%d", key, n))
	case "huge":
		if words := []string{"never", "always", "within_size", "advise"}; !slices.Contains(words, val) {
			return invalid("write huge="+strings.Join(words, ", "), "invalid value for huge: %s", val)
		}
		m.Options = append(m.Options, o)
	case "mpol":
		if !has || val == "" {
			return invalid("write "+key+"=VALUE", "invalid tmpfs option %q", o)
		}
		m.Options = append(m.Options, o)
	case "U":
		m.Chown = true
	case "notmpcopyup":
		m.NoCopy = true
	case "tmpcopyup", "":
		m.NoCopy = false
	default:
		return invalid("options of a tmpfs are size, mode, uid, gid, nr_inodes, ro, rw, (no)exec, (no)suid, (no)dev", "invalid tmpfs option [%q]", o)
	}
	return nil
}

// CheckMounts refuses two mounts on one target.
func CheckMounts(mounts []Mount) error {
	seen := map[string]bool{}
	for _, m := range mounts {
		if seen[m.Target] {
			return invalid("omit one of the two", "duplicate mount point: %s", m.Target)
		}
		seen[m.Target] = true
	}
	return nil
}

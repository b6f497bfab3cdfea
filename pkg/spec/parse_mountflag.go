// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"path/filepath"
	"strconv"
	"strings"
)

const mountHint = "write type=bind|volume|tmpfs,source=SOURCE,target=TARGET[,readonly]"

// mountParser keeps which family of options a --mount used, to refuse a mix.
type mountParser struct {
	m       Mount
	typ     string
	family  string // bind, volume or tmpfs
	srcSeen bool
}

// ParseMount parses one --mount value, with Docker's keys and podman's
// spellings of them. A relative bind source is taken from baseDir.
func ParseMount(value, baseDir string) (Mount, error) {
	fields, err := csvFields(value)
	if err != nil {
		return Mount{}, err
	}
	p := mountParser{typ: string(MountVolume)}
	for _, f := range fields {
		key, val, has := strings.Cut(f, "=")
		if err := p.set(strings.ToLower(key), val, has, f); err != nil {
			return Mount{}, err
		}
	}
	return p.finish(value, baseDir)
}

func (p *mountParser) set(key, val string, has bool, field string) error {
	if !has && !mountFlagAlone(key) {
		if !knownMountKey(key) {
			return invalid(mountHint, "unexpected key '%s' in '%s'", key, field)
		}
		return invalid("write "+key+"=VALUE", "invalid field '%s' must be a key=value pair", field)
	}
	var err error
	switch key {
	case "type":
		p.typ = strings.ToLower(val)
	case "source", "src":
		p.m.Source, p.srcSeen = val, true
	case "target", "destination", "dst":
		p.m.Target = val
	case "readonly", "ro":
		p.m.ReadOnly, err = parseBool(key, val, has)
	case "rw":
		var rw bool
		rw, err = parseBool(key, val, has)
		p.m.ReadOnly = !rw
	case "consistency":
		// A hint for Docker Desktop; nothing to do on Linux.
	case "u", "chown":
		p.m.Chown, err = parseBool(key, val, has)
	case "relabel":
		switch val {
		case "shared":
			p.m.Relabel = "z"
		case "private":
			p.m.Relabel = "Z"
		default:
			err = invalid("write relabel=shared or relabel=private", "invalid value for relabel: %s", val)
		}
	default:
		return p.setTyped(key, val, has, field)
	}
	return err
}

func (p *mountParser) setTyped(key, val string, has bool, field string) error {
	family, opt, ok := strings.Cut(key, "-")
	if !ok || !knownMountKey(key) {
		return invalid(mountHint, "unexpected key '%s' in '%s'", key, field)
	}
	p.family = family
	switch family {
	case "bind":
		return p.setBind(opt, val, has)
	case "tmpfs":
		return p.setTmpfs(opt, val)
	}
	return p.setVolume(opt, val, has)
}

func (p *mountParser) setBind(opt, val string, has bool) (err error) {
	switch opt {
	case "propagation":
		switch val {
		case "private", "rprivate", "shared", "rshared", "slave", "rslave":
			p.m.Propagation = val
		default:
			return invalid("one of rprivate, private, rshared, shared, rslave, slave", "invalid value for bind-propagation: %s", val)
		}
	case "nonrecursive":
		p.m.NonRecursive, err = parseBool("bind-nonrecursive", val, has)
	case "create-src":
		p.m.CreateSource, err = parseBool("bind-create-src", val, has)
	case "recursive":
		switch val {
		case "enabled", "true", "writable":
		case "disabled", "false":
			p.m.NonRecursive = true
		case "readonly":
			p.m.Options = append(p.m.Options, "rro")
		default:
			return invalid("", "invalid value for bind-recursive: %s (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")", val)
		}
	}
	return err
}

func (p *mountParser) setVolume(opt, val string, has bool) (err error) {
	switch opt {
	case "nocopy":
		p.m.NoCopy, err = parseBool("volume-nocopy", val, has)
	case "driver":
		p.m.Driver = val
	case "subpath":
		p.m.Subpath = val
	case "label":
		k, v, _ := strings.Cut(val, "=")
		if p.m.Labels == nil {
			p.m.Labels = map[string]string{}
		}
		p.m.Labels[k] = v
	case "opt":
		k, v, _ := strings.Cut(val, "=")
		if p.m.DriverOpts == nil {
			p.m.DriverOpts = map[string]string{}
		}
		p.m.DriverOpts[k] = v
	}
	return err
}

func (p *mountParser) setTmpfs(opt, val string) error {
	if opt == "size" {
		n, err := ParseSize(val)
		if err != nil {
			return invalid("write a size such as 64m", "invalid value for tmpfs-size: %s", val)
		}
		p.m.TmpfsSize = n
		return nil
	}
	n, err := strconv.ParseUint(val, 8, 32)
	if err != nil || n > 0o7777 {
		return invalid("write an octal mode such as 1777", "invalid value for tmpfs-mode: %s", val)
	}
	p.m.TmpfsMode = uint32(n)
	return nil
}

func (p *mountParser) finish(value, baseDir string) (Mount, error) {
	m := p.m
	switch p.typ {
	case "bind", "volume", "tmpfs":
		m.Type = MountType(p.typ)
	case "":
		return Mount{}, invalid(mountHint, "type is required")
	case "image", "cluster", "npipe", "devpts", "ramfs", "glob":
		return Mount{}, unsupported("use type=bind, type=volume or type=tmpfs", "mount type %q is not supported", p.typ)
	default:
		return Mount{}, invalid("use type=bind, type=volume or type=tmpfs", "mount type unknown: %q", p.typ)
	}
	if m.Target == "" {
		return Mount{}, invalid("add target=/PATH", "target is required")
	}
	if p.family != "" && p.family != p.typ {
		return Mount{}, invalid("", "cannot mix '%s-*' options with mount type '%s'", p.family, p.typ)
	}
	switch m.Type {
	case MountBind:
		if m.Source == "" {
			return Mount{}, invalid("add source=/PATH", "invalid mount config for type \"bind\": field Source must not be empty")
		}
		source, err := FromDir(baseDir, m.Source)
		if err != nil {
			return Mount{}, err
		}
		m.Source = source
	case MountTmpfs:
		if p.srcSeen && m.Source != "" {
			return Mount{}, invalid("omit source=", "invalid mount config for type \"tmpfs\": field Source must not be specified")
		}
	case MountVolume:
		if m.Source != "" {
			if err := CheckVolumeName(m.Source); err != nil {
				return Mount{}, err
			}
		}
		if err := checkSubpath(m.Subpath); err != nil {
			return Mount{}, err
		}
	}
	return m.checked()
}

// checkSubpath keeps volume-subpath inside the volume; symbolic links are the
// business of whoever opens it.
func checkSubpath(s string) error {
	if s != "" && !filepath.IsLocal(s) {
		return invalid("write a path inside the volume", "subpath must be a relative path within the volume: %q", s)
	}
	return nil
}

func mountFlagAlone(key string) bool {
	switch key {
	case "readonly", "ro", "rw", "volume-nocopy", "bind-nonrecursive", "bind-create-src", "u", "chown":
		return true
	}
	return false
}

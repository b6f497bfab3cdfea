// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/proa-containers/proa/pkg/build"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// buildRunFlags are the flags about the containers of RUN steps. Nothing of
// them gets into the image.
type buildRunFlags struct {
	security        securityFlags
	volumes, mounts []string
	hosts           []string

	dns, dnsSearch, dnsOptions []string
}

func (r *buildRunFlags) register(f *flagSet, o *build.Options) {
	resourceFlags(f, &o.Run.Resources)
	parsed(f, &o.Network, "network", "", "string", "Set the networking mode for the RUN instructions", parseRunNetwork).oneOf("default", "none", "host")
	f.texts(&r.hosts, "add-host", "", `Add a custom host-to-IP mapping (format: "host:ip")`)
	f.boolean(&o.Run.Network.NoHosts, "no-hosts", "", "RUN sees the image's own /etc/hosts")
	f.boolean(&o.Run.Network.NoHostname, "no-hostname", "", "RUN sees the image's own /etc/hostname")
	f.texts(&r.dns, "dns", "", "DNS servers for RUN")
	f.texts(&r.dnsSearch, "dns-search", "", "DNS search domains for RUN")
	f.alias(f.texts(&r.dnsOptions, "dns-option", "", "DNS options for RUN"), "dns-opt")
	f.texts(&r.volumes, "volume", "v", "Bind mount a directory for RUN (format: \"/host:/target[:options]\")").suggests(directories)
	mountFlag(f, &r.mounts, "Attach a bind mount or a tmpfs for RUN")
	o.PassProxy = true
	f.boolean(&o.PassProxy, "http-proxy", "", "Pass on the proxy variables of the caller to RUN")
	f.texts(&o.Run.Process.GroupAdd, "group-add", "", "Additional groups for RUN")
	r.registerSecurity(f)
}

func (r *buildRunFlags) registerSecurity(f *flagSet) {
	s := &r.security
	f.texts(&s.capAdd, "cap-add", "", "Add Linux capabilities for RUN").suggests(words(spec.Capabilities()...))
	f.texts(&s.capDrop, "cap-drop", "", "Drop Linux capabilities for RUN").suggests(words(spec.Capabilities()...))
	f.texts(&s.opts, "security-opt", "", "Security options for RUN")
	parsedList(f, &s.Devices, "device", "", "list", "Add a host device for RUN", spec.ParseDevice).suggests(files)
	for _, m := range []struct {
		p    *string
		name string
	}{{&s.PidMode, "pid"}, {&s.IpcMode, "ipc"}, {&s.UtsMode, "uts"}, {&s.CgroupnsMode, "cgroupns"}} {
		parsed(f, m.p, m.name, "", "string", m.name+" namespace for RUN", func(v string) (string, error) { return parseRunNamespace(m.name, v) }).oneOf("private", "host")
	}
	parsed(f, new(string), "userns", "", "string", "", func(v string) (string, error) {
		if v == "" || v == "container" || v == "host" {
			return "", nil // the one that all containers of the user have
		}
		return "", errs.WithHint(errs.New(errs.Unsupported, "RUN steps share the user's own namespace"), "omit --userns")
	}).hidden = true
	parsed(f, new(string), "isolation", "", "string", "", func(v string) (string, error) {
		switch v {
		case "", "default", "oci", "process":
			return "", nil
		case "rootless", "chroot", "hyperv":
			return "", errs.WithHint(errs.New(errs.Unsupported, "RUN steps always get full containers"), "omit --isolation")
		}
		return "", errs.WithHint(errs.New(errs.Invalid, "unrecognized isolation type %q", v), "omit --isolation")
	}).hidden = true
}

func parseRunNetwork(s string) (string, error) {
	switch s {
	case "", "default", "bridge", "private":
		return "default", nil
	case "none", "host":
		return s, nil
	}
	return "", errs.WithHint(errs.New(errs.Unsupported, "RUN steps cannot join it"), "use default, none or host")
}

// parseRunNamespace understands podman's "container" too: one of its own.
func parseRunNamespace(name, s string) (string, error) {
	switch s {
	case "", "container", "private":
		return "", nil
	case "host":
		return s, nil
	}
	return "", errs.WithHint(errs.New(errs.Unsupported, "a RUN step has a %s namespace of its own or the host's", name), "use private or host")
}

// fill puts what the flags say into the options of the build.
func (r *buildRunFlags) fill(a *app, o *build.Options) (err error) {
	for _, h := range r.hosts {
		hosts, err := spec.ParseAddHost(h)
		if err != nil {
			return err
		}
		o.Run.Network.ExtraHosts = append(o.Run.Network.ExtraHosts, hosts...)
	}
	if o.Run.Network.NoHosts && len(r.hosts) > 0 {
		return errs.WithHint(errs.New(errs.Invalid, "conflicting options: --no-hosts and --add-host"), "omit one of the two")
	}
	if err := r.fillMounts(a, o); err != nil {
		return err
	}
	if o.Run.Network.DNS, err = spec.ParseDNS(r.dns, r.dnsSearch, r.dnsOptions); err != nil {
		return err
	}
	o.Run.Security, err = r.security.security(a)
	return err
}

func (r *buildRunFlags) fillMounts(a *app, o *build.Options) error {
	for _, list := range []struct {
		values []string
		parse  func(value, baseDir string) (spec.Mount, error)
	}{{r.volumes, spec.ParseVolume}, {r.mounts, spec.ParseMount}} {
		for _, v := range list.values {
			m, err := list.parse(v, a.std.Dir)
			if err != nil {
				return err
			}
			if m.Type == spec.MountVolume {
				return errs.WithHint(errs.New(errs.Unsupported, "volume %q: RUN steps have directories of the host only", v),
					"write /DIRECTORY:%s, or use RUN --mount=type=cache,target=%s", m.Target, m.Target)
			}
			o.Run.Mounts = append(o.Run.Mounts, m)
		}
	}
	return spec.CheckMounts(o.Run.Mounts)
}

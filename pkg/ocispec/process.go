// SPDX-License-Identifier: Apache-2.0

package ocispec

import (
	"path"
	"strings"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// DefaultPath is Docker's PATH for images that set none.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Where the init program is mounted: on the container's own /dev, so that no
// file appears in its layer.
const initTarget = "/dev/init"

func (b *builder) process() error {
	p, img := &b.in.Spec.Process, &b.in.Image
	args, err := Args(p, img)
	if err != nil {
		return err
	}
	if args, err = b.initArgs(args); err != nil {
		return err
	}
	out := &b.out.Process
	out.Args = args
	out.Env = Env(p, img, b.hostname())
	out.TTY, out.OpenStdin, out.StdinOnce = p.TTY, p.OpenStdin, p.StdinOnce
	out.AdditionalGIDs = p.GroupAdd
	out.User = firstOf(p.User, b.keepIDUser(), img.User)
	out.Dir = firstOf(p.Dir, img.WorkingDir, "/")
	if !path.IsAbs(out.Dir) {
		return errs.WithHint(errs.New(errs.Invalid, "the working directory '%s' is invalid, it needs to be an absolute path", out.Dir),
			"write --workdir /%s", out.Dir)
	}
	out.Dir = path.Clean(out.Dir)
	sig, err := spec.ParseSignal(firstOf(b.in.Spec.Lifecycle.StopSignal, img.StopSignal, "SIGTERM"))
	if err != nil {
		return err
	}
	b.out.StopSignal = spec.SignalName(sig)
	return nil
}

func firstOf(ss ...string) string {
	for _, s := range ss {
		if s != "" {
			return s
		}
	}
	return ""
}

// Args is the command line of the container's process by Docker's rules: an
// entrypoint given by the user drops the image's CMD as well, since that was
// written as arguments to the image's own entrypoint. Whoever names the
// container's command for a list (ps, inspect) calls it, too.
func Args(p *spec.Process, img *spec.ImageConfig) ([]string, error) {
	entry, cmd := img.Entrypoint, img.Cmd
	if p.Entrypoint != nil {
		entry, cmd = *p.Entrypoint, nil
	}
	if len(entry) == 1 && entry[0] == "" {
		entry = nil // Docker, for an image's ENTRYPOINT [""] as well
	}
	if len(p.Args) > 0 {
		cmd = p.Args
	}
	args := append(append([]string{}, entry...), cmd...)
	if len(args) == 0 {
		return nil, errs.WithHint(errs.New(errs.Invalid, "no command specified"),
			"the image has neither ENTRYPOINT nor CMD: name the command after the image")
	}
	if args[0] == "" {
		return nil, errs.WithHint(errs.New(errs.CommandMissing, "the command to run is an empty string"),
			"name a program after the image, or in --entrypoint")
	}
	return args, nil
}

// Marker tells a program that it runs in a container, as podman's "container=podman"
// does: systemd and scripts look for it.
const Marker = "container=proa"

// Env merges the environment: Docker's own variables and Marker, then the image's, then
// the user's; a later value replaces an earlier one in its place. HOME is set
// by the monitor, which knows the user's entry in /etc/passwd.
func Env(p *spec.Process, img *spec.ImageConfig, hostname string) []string {
	env := make([]string, 0, 4+len(img.Env)+len(p.Env))
	env = append(env, "PATH="+DefaultPath, Marker)
	if hostname != "" {
		env = append(env, "HOSTNAME="+hostname)
	}
	if p.TTY {
		env = append(env, "TERM=xterm")
	}
	for _, list := range [][]string{img.Env, p.Env} {
		for _, kv := range list {
			env = setEnv(env, kv)
		}
	}
	for _, k := range p.UnsetEnv {
		env = unsetEnv(env, k)
	}
	return env
}

func setEnv(env []string, kv string) []string {
	key, _, ok := strings.Cut(kv, "=")
	if !ok {
		// Docker: a bare name removes the variable.
		return unsetEnv(env, kv)
	}
	for i, e := range env {
		if strings.HasPrefix(e, key) && len(e) > len(key) && e[len(key)] == '=' {
			env[i] = kv
			return env
		}
	}
	return append(env, kv)
}

func unsetEnv(env []string, key string) []string {
	out := env[:0]
	for _, e := range env {
		if k, _, _ := strings.Cut(e, "="); k != key {
			out = append(out, e)
		}
	}
	return out
}

// initArgs puts the init program before the command.
func (b *builder) initArgs(args []string) ([]string, error) {
	p := &b.in.Spec.Process
	if !p.Init {
		return args, nil
	}
	if firstOf(p.InitPath, b.in.Host.InitPath) == "" {
		return nil, errs.WithHint(errs.New(errs.Unsupported, "no init program for --init found on this host"),
			"install one with \"apt-get install tini\" or \"apt-get install catatonit\", or name it with --init-path")
	}
	return append([]string{b.initTarget(), "--"}, args...), nil
}

// initTarget is in the image's /sbin when the user mounts a /dev of his own,
// which we must not write to.
func (b *builder) initTarget() string {
	if b.userMount("/dev") {
		return "/sbin/docker-init"
	}
	return initTarget
}

// hostname is what uname -n says in the container.
func (b *builder) hostname() string {
	p := &b.in.Spec.Process
	switch {
	case p.Hostname != "":
		return p.Hostname
	case b.in.Spec.Security.UtsMode == "host", b.in.Spec.Network.Mode == spec.NetHost:
		return b.in.Host.Hostname
	case len(b.in.ID) >= 12:
		return b.in.ID[:12]
	}
	return b.in.ID
}

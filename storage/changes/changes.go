// SPDX-License-Identifier: Apache-2.0

// Package changes applies single Dockerfile instructions to an image's
// configuration, as `import --change` and `commit --change` do.
package changes

import (
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/errs"
)

// Apply changes c by each of the lines: CMD, ENTRYPOINT, ENV, EXPOSE,
// HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR, SHELL.
func Apply(c *dockerspec.DockerOCIImageConfig, lines []string) error {
	for _, l := range lines {
		ast, err := parser.Parse(strings.NewReader(l))
		if err != nil {
			return errs.New(errs.Invalid, "cannot apply change %q: %w", l, err)
		}
		for _, node := range ast.AST.Children {
			cmd, err := instructions.ParseInstruction(node)
			if err != nil {
				return errs.New(errs.Invalid, "cannot apply change %q: %w", l, err)
			}
			if err := apply(c, cmd, l); err != nil {
				return err
			}
		}
	}
	return nil
}

func apply(c *dockerspec.DockerOCIImageConfig, cmd any, line string) error {
	lex := shell.NewLex('\\')
	expand := func(word string) (string, error) {
		w, _, err := lex.ProcessWord(word, shell.EnvsFromSlice(c.Env))
		return w, err
	}
	if e, ok := cmd.(instructions.SupportsSingleWordExpansion); ok {
		if err := e.Expand(expand); err != nil {
			return errs.New(errs.Invalid, "cannot apply change %q: %w", line, err)
		}
	}
	switch i := cmd.(type) {
	case *instructions.CmdCommand:
		c.Cmd = withShell(c, i.CmdLine, i.PrependShell)
	case *instructions.EntrypointCommand:
		c.Entrypoint = withShell(c, i.CmdLine, i.PrependShell)
	case *instructions.EnvCommand:
		for _, kv := range i.Env {
			setEnv(c, kv.Key, kv.Value)
		}
	case *instructions.LabelCommand:
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		for _, kv := range i.Labels {
			c.Labels[kv.Key] = kv.Value
		}
	case *instructions.ExposeCommand:
		return expose(c, i.Ports, line)
	case *instructions.VolumeCommand:
		if c.Volumes == nil {
			c.Volumes = map[string]struct{}{}
		}
		for _, v := range i.Volumes {
			c.Volumes[v] = struct{}{}
		}
	case *instructions.UserCommand:
		c.User = i.User
	case *instructions.WorkdirCommand:
		c.WorkingDir = i.Path
	case *instructions.StopSignalCommand:
		c.StopSignal = i.Signal
	case *instructions.ShellCommand:
		c.Shell = i.Shell
	case *instructions.OnbuildCommand:
		c.OnBuild = append(c.OnBuild, i.Expression)
	case *instructions.HealthCheckCommand:
		c.Healthcheck = i.Health
	default:
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		return errs.New(errs.Invalid, "%s is not a valid change command", strings.ToUpper(word))
	}
	return nil
}

func withShell(c *dockerspec.DockerOCIImageConfig, args []string, prepend bool) []string {
	if !prepend {
		return args
	}
	sh := c.Shell
	if len(sh) == 0 {
		sh = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clone(sh), strings.Join(args, " "))
}

func setEnv(c *dockerspec.DockerOCIImageConfig, key, value string) {
	for i, kv := range c.Env {
		if k, _, _ := strings.Cut(kv, "="); k == key {
			c.Env[i] = key + "=" + value
			return
		}
	}
	c.Env = append(c.Env, key+"="+value)
}

func expose(c *dockerspec.DockerOCIImageConfig, ports []string, line string) error {
	if c.ExposedPorts == nil {
		c.ExposedPorts = map[string]struct{}{}
	}
	for _, p := range ports {
		port, proto, ok := strings.Cut(p, "/")
		if !ok {
			proto = "tcp"
		}
		if port == "" || strings.Trim(port, "0123456789-") != "" {
			return errs.New(errs.Invalid, "cannot apply change %q: invalid port %q", line, p)
		}
		c.ExposedPorts[port+"/"+strings.ToLower(proto)] = struct{}{}
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/copying"
	"github.com/proa-containers/proa/pkg/build/dockerfile"
	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/build/files"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// dispatch executes an expanded instruction.
func (s *stage) dispatch(ctx context.Context, ref StepRef, cmd instructions.Command) error {
	switch c := cmd.(type) {
	case *instructions.RunCommand:
		return s.runRun(ctx, ref, c)
	case *instructions.CopyCommand:
		return s.runCopy(ctx, ref, copyJob{from: c.From, chown: c.Chown, chmod: c.Chmod, link: c.Link, Sources: copying.Sources{
			Name: "COPY", Paths: c.SourcePaths, Inline: c.SourceContents, Dest: c.DestPath, Parents: c.Parents, Exclude: c.ExcludePatterns,
		}})
	case *instructions.AddCommand:
		return s.runCopy(ctx, ref, copyJob{chown: c.Chown, chmod: c.Chmod, link: c.Link, Sources: copying.Sources{
			Name: "ADD", Paths: c.SourcePaths, Inline: c.SourceContents, Dest: c.DestPath, Exclude: c.ExcludePatterns,
			Add: true, Checksum: c.Checksum, Web: s.b.o.Web, KeepGit: c.KeepGitDir, Unpack: c.Unpack,
			SSH: len(s.b.o.SSH) > 0,
		}})
	case *instructions.WorkdirCommand:
		return s.runWorkdir(ctx, ref, c)
	case *instructions.ArgCommand:
		return s.runArg(ctx, ref, c)
	}
	return s.runConfig(ctx, ref, cmd)
}

// runConfig executes the instructions that only change the configuration.
func (s *stage) runConfig(ctx context.Context, ref StepRef, cmd instructions.Command) error {
	cfg := &s.image.Config
	switch c := cmd.(type) {
	case *instructions.EnvCommand:
		for _, kv := range c.Env {
			cfg.Env = dockerfile.Env(cfg.Env).With(kv.Key, kv.Value)
		}
	case *instructions.LabelCommand:
		if cfg.Labels == nil {
			cfg.Labels = map[string]string{}
		}
		for _, kv := range c.Labels {
			cfg.Labels[kv.Key] = kv.Value
		}
	case *instructions.MaintainerCommand:
		s.image.Author = c.Maintainer
	case *instructions.CmdCommand:
		cfg.Cmd = s.commandLine(c.ShellDependantCmdLine)
		s.cmdSet = true
	case *instructions.EntrypointCommand:
		cfg.Entrypoint = s.commandLine(c.ShellDependantCmdLine)
		// A CMD of the base belongs to the base's entry point.
		if !s.cmdSet {
			cfg.Cmd = nil
		}
	case *instructions.HealthCheckCommand:
		cfg.Healthcheck = c.Health
	case *instructions.ExposeCommand:
		if err := s.expandPorts(c); err != nil {
			return err
		}
		if err := s.expose(c); err != nil {
			return err
		}
	case *instructions.UserCommand:
		cfg.User = c.User
	case *instructions.VolumeCommand:
		if cfg.Volumes == nil {
			cfg.Volumes = map[string]struct{}{}
		}
		for _, v := range c.Volumes {
			if v == "" {
				return errs.New(errs.Invalid, "VOLUME specified can not be an empty string")
			}
			cfg.Volumes[v] = struct{}{}
		}
	case *instructions.StopSignalCommand:
		if _, err := spec.ParseSignal(c.Signal); err != nil {
			return err
		}
		cfg.StopSignal = c.Signal
	case *instructions.OnbuildCommand:
		cfg.OnBuild = append(cfg.OnBuild, c.Expression)
	case *instructions.ShellCommand:
		cfg.Shell = slices.Clone(c.Shell)
	default:
		return errs.New(errs.Unsupported, "unknown instruction %s", strings.ToUpper(cmd.Name()))
	}
	text := expandedText(cmd)
	return s.configStep(ctx, ref, text+"\x00"+jsonText(cfg), text)
}

// expandedText is what history shows: the instruction with its variables
// replaced.
func expandedText(cmd instructions.Command) string {
	name := strings.ToUpper(cmd.Name())
	switch c := cmd.(type) {
	case *instructions.EnvCommand:
		return name + " " + pairs(c.Env)
	case *instructions.LabelCommand:
		return name + " " + pairs(c.Labels)
	case *instructions.ExposeCommand:
		return name + " " + strings.Join(c.Ports, " ")
	case *instructions.UserCommand:
		return name + " " + c.User
	case *instructions.VolumeCommand:
		return name + " [" + strings.Join(c.Volumes, " ") + "]"
	case *instructions.StopSignalCommand:
		return name + " " + c.Signal
	}
	return commandText(cmd)
}

func pairs(kvs instructions.KeyValuePairs) string {
	out := make([]string, len(kvs))
	for i, kv := range kvs {
		out[i] = kv.Key + "=" + kv.Value
	}
	return strings.Join(out, " ")
}

// commandLine is the exec form of a command: the shell form gets the stage's
// shell in front.
func (s *stage) commandLine(c instructions.ShellDependantCmdLine) []string {
	if !c.PrependShell {
		return slices.Clone(c.CmdLine)
	}
	return append(s.shell(), strings.Join(c.CmdLine, " "))
}

func (s *stage) shell() []string {
	if len(s.image.Config.Shell) > 0 {
		return slices.Clone(s.image.Config.Shell)
	}
	return []string{"/bin/sh", "-c"}
}

// expandPorts replaces variables; one may hold several ports.
func (s *stage) expandPorts(c *instructions.ExposeCommand) error {
	var ports []string
	for _, p := range c.Ports {
		words, err := s.lex.ProcessWords(p, s.env())
		if err != nil {
			return err
		}
		ports = append(ports, words...)
	}
	c.Ports = ports
	return nil
}

func (s *stage) expose(c *instructions.ExposeCommand) error {
	cfg := &s.image.Config
	if cfg.ExposedPorts == nil {
		cfg.ExposedPorts = map[string]struct{}{}
	}
	for _, p := range c.Ports {
		ports, err := dockerfile.Ports(p)
		if err != nil {
			return err
		}
		for _, port := range ports {
			cfg.ExposedPorts[port] = struct{}{}
		}
	}
	return nil
}

// runArg records build arguments: --build-arg, else the line's default, else the value from before
// the first FROM.
func (s *stage) runArg(ctx context.Context, ref StepRef, c *instructions.ArgCommand) error {
	text, err := s.setArgs(c)
	if err != nil {
		return err
	}
	// The value counts where it is used: here it must not spoil the cache.
	line := "ARG " + strings.Join(text, " ")
	return s.configStep(ctx, ref, line, line)
}

// setArgs brings the arguments into scope, and returns them as they are written.
func (s *stage) setArgs(c *instructions.ArgCommand) (text []string, err error) {
	for _, a := range c.Args {
		text = append(text, a.String())
		switch v, ok := s.b.parsing.Arg(a.Key); {
		case ok:
			s.args = s.args.With(a.Key, v)
		case a.Value != nil:
			v, err := s.expander(c, s.lex)(*a.Value)
			if err != nil {
				return nil, err
			}
			s.args = s.args.With(a.Key, v)
		default:
			if v, ok := s.b.plan.Global.Get(a.Key); ok {
				s.args = s.args.With(a.Key, v)
			}
		}
	}
	return text, nil
}

// runWorkdir sets the working directory and makes it where it is missing.
func (s *stage) runWorkdir(ctx context.Context, ref StepRef, c *instructions.WorkdirCommand) error {
	dir := c.Path
	if !path.IsAbs(dir) {
		dir = path.Join("/", s.image.Config.WorkingDir, dir)
	}
	dir = path.Clean(dir)
	s.image.Config.WorkingDir = dir
	key := cache.NewKey(s.key, "workdir", dir).Sum()
	return s.layerStep(ctx, ref, key, "WORKDIR "+dir, func(sc engine.Scratch) error {
		merged, err := sc.Merged()
		if err != nil {
			return err
		}
		r, err := files.OpenRoot(merged)
		if err != nil {
			return err
		}
		defer r.Close()
		if _, err := r.ResolveDir(dir); err == nil {
			return errNoFiles
		}
		own, err := files.LookupOwner(r, s.image.Config.User)
		if err != nil {
			own = files.Owner{} // a user that the image makes later
		}
		fd, err := r.MkdirAll(dir, files.NewDirs{Mode: 0o755, Owner: own})
		if err != nil {
			return err
		}
		return unix.Close(fd)
	})
}

func jsonText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(text)
}

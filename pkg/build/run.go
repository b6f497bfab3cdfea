// SPDX-License-Identifier: Apache-2.0

package build

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/dockerfile"
	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/build/runner"
	"github.com/proa-containers/proa/pkg/build/source"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// runRun executes one RUN in a container of its own on top of the stage.
func (s *stage) runRun(ctx context.Context, ref StepRef, c *instructions.RunCommand) error {
	if os := s.image.OS; os != "" && os != "linux" {
		return errs.WithHint(errs.New(errs.Unsupported, "cannot run a command for %s: only linux containers run here", os),
			"run it in a stage FROM --platform=$BUILDPLATFORM, and take the files with COPY --from")
	}
	args, script := runner.Command(c, s.shell())
	network, security := instructions.GetNetwork(c), instructions.GetSecurity(c)
	if network == "" || network == "default" {
		network = s.b.o.Network
	}
	if err := s.entitled(c, network, security); err != nil {
		return err
	}
	key := s.runKey(c, args, network, security)
	mounts, err := s.runMounts(ctx, key, instructions.GetMounts(c))
	if err != nil {
		return err
	}
	created := "RUN " + s.argText() + strings.Join(args, " ")
	step := runner.Step{
		Below: s.top, Image: s.image, Container: s.container(args, network), Script: script, Shell: s.shell()[0], Mounts: mounts,
		Stdout: &outputWriter{s.b.report, ref, false}, Stderr: &outputWriter{s.b.report, ref, true},
		Started: func(id string) { s.b.report.Step(StepEvent{StepRef: ref, State: StepRunning, Container: id}) },
	}
	step.Container.Security.Privileged = security == "insecure"
	return s.layerStep(ctx, ref, key.Sum(), created, func(sc engine.Scratch) error {
		step.Scratch = sc
		return s.b.runs.Do(ctx, &step)
	})
}

// entitled refuses what a RUN takes beyond its container, unless the user allowed it. It
// comes before the look into the cache: what an earlier build was allowed is not known
// to one that is not.
func (s *stage) entitled(c *instructions.RunCommand, network, security string) error {
	if len(instructions.GetDevices(c)) > 0 {
		return errs.New(errs.Unsupported, "RUN --device is not supported: there is no device registry (CDI) here")
	}
	if network == "host" && s.b.o.Network != "host" && !s.b.o.Allow.HostNetwork {
		return errs.WithHint(errs.New(errs.Denied, "RUN --network=host: network.host is not allowed"),
			"it reaches what listens on 127.0.0.1 of this machine; to allow it, build with --allow network.host")
	}
	if security == "insecure" && !s.b.o.Allow.Insecure {
		return errs.WithHint(errs.New(errs.Denied, "RUN --security=insecure: security.insecure is not allowed"),
			"build with --allow security.insecure")
	}
	return nil
}

// runMounts finds out what the mounts are of, and adds the content of those to the key
// that the step depends on. That of a cache is only opened if the cache is new.
func (s *stage) runMounts(ctx context.Context, key cache.Key, given []*instructions.Mount) ([]runner.Mount, error) {
	out := make([]runner.Mount, len(given))
	for i, m := range given {
		out[i].Mount = m
		text := *m
		text.Env, text.Mode, text.UID, text.GID = nil, nil, nil, nil
		key.Add(jsonText(text))
		switch {
		case m.Type == instructions.MountTypeBind:
			from, err := s.b.sourceTree(ctx, m.From, s.plan)
			if err != nil {
				return nil, err
			}
			out[i].Tree, out[i].Layers, out[i].Where = from.Lazy, from.id != "", from.where
			r := &reading{b: s.b, from: from, what: out[i].Sources()}
			err = s.addContent(ctx, key, r)
			r.Close()
			if err != nil {
				return nil, err
			}
		case m.Type == instructions.MountTypeCache && m.From != "":
			out[i].Tree = source.NewLazy(func(ctx context.Context) (*source.Tree, error) {
				from, err := s.b.sourceTree(ctx, m.From, s.plan)
				if err != nil {
					return nil, err
				}
				return from.Get(ctx)
			})
			out[i].Base = func(ctx context.Context) (string, error) {
				from, err := s.b.sourceTree(ctx, m.From, s.plan)
				return cmp.Or(from.id, "files:"+m.From), err
			}
		}
	}
	return out, nil
}

// container is what a step runs in, but for the mounts of its own.
func (s *stage) container(args []string, network string) spec.Container {
	c := s.b.o.Run
	c.Process.Entrypoint, c.Process.Args, c.Process.Env = &[]string{}, args, s.runEnv()
	switch network {
	case "none", "host":
		c.Network.Mode = spec.NetworkMode(network)
	default:
		c.Network.Mode = spec.NetBridge
	}
	return c
}

// argText is how history shows the build arguments of a RUN.
func (s *stage) argText() string {
	if len(s.args) == 0 {
		return ""
	}
	return fmt.Sprintf("|%d %s ", len(s.args), strings.Join(s.args, " "))
}

// proxyArg is the value of a predefined argument. As in BuildKit it may be given
// in capitals or not, for programs that read the one or the other.
func (s *stage) proxyArg(name string) (string, bool) {
	names := []string{name, strings.ToUpper(name), strings.ToLower(name)}
	for _, n := range names {
		if v, ok := s.b.parsing.Arg(n); ok {
			return v, true
		}
	}
	if s.b.o.PassProxy && s.b.o.Getenv != nil {
		for _, n := range names {
			if v, ok := s.b.o.Getenv(n); ok {
				return v, true
			}
		}
	}
	return "", false
}

// runEnv are the variables of a RUN beyond the image's: ARGs in scope, and the
// predefined ones given on the command line.
func (s *stage) runEnv() []string {
	env := dockerfile.Env(nil)
	for _, name := range dockerfile.PredefinedArgs {
		if v, ok := s.proxyArg(name); ok {
			env = env.With(name, v)
		}
	}
	for _, kv := range s.seenArgs() {
		name, v, _ := strings.Cut(kv, "=")
		env = env.With(name, v)
	}
	return env
}

// seenArgs are the ARGs that a command sees: an ENV of the same name hides one.
func (s *stage) seenArgs() dockerfile.Env {
	var seen dockerfile.Env
	for _, kv := range s.args {
		name, _, _ := strings.Cut(kv, "=")
		if _, hidden := dockerfile.Env(s.image.Config.Env).Get(name); !hidden {
			seen = append(seen, kv)
		}
	}
	return seen
}

// runKey names everything that a RUN's outcome depends on, but for its mounts.
func (s *stage) runKey(c *instructions.RunCommand, args []string, network, security string) cache.Key {
	cfg := &s.image.Config
	k := cache.NewKey(s.key, "RUN", jsonText(args), jsonText(cfg.Env), jsonText(s.seenArgs()), cfg.WorkingDir, cfg.User, network, security)
	for _, f := range c.Files {
		k.Add(f.Name, f.Data)
	}
	s.addSettings(k)
	return k
}

// addSettings adds those flags of the build that change what a command can
// see or do. Limits are not among them: a step that ended well within them is
// the same without. Nothing is added where none is given.
func (s *stage) addSettings(k cache.Key) {
	r := &s.b.o.Run
	for _, given := range []struct {
		name  string
		value any
	}{
		{"hostname", r.Process.Hostname}, {"hosts", r.Network.ExtraHosts}, {"mounts", r.Mounts},
		{"security", r.Security}, {"groups", r.Process.GroupAdd},
	} {
		if v := reflect.ValueOf(given.value); !v.IsZero() {
			k.Add(given.name, jsonText(given.value))
		}
	}
}

type outputWriter struct {
	report Reporter
	ref    StepRef
	stderr bool
}

func (w *outputWriter) Write(p []byte) (int, error) {
	w.report.Output(w.ref, w.stderr, p)
	return len(p), nil
}

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

type pullFlags struct {
	libpod.PullOptions
	platform platformFlags
	registry registryFlags
}

func pullCommand() *command {
	return &command{
		examples: []string{
			`proa pull alpine                         the latest from docker.io`,
			`proa pull --platform linux/arm64 alpine  for another machine`,
			`proa pull containers-storage:web         out of podman's store, without a registry`,
		},
		name: "pull", args: "NAME[:TAG|@DIGEST] [NAME...]", short: "Download an image from a registry", min: 1, max: -1, twin: "image pull",
		setup: func(f *flagSet) action {
			var o pullFlags
			f.boolean(&o.AllTags, "all-tags", "a", "Download all tagged images in the repository")
			o.platform.register(f)
			o.registry.register(f)
			o.registry.registerRetry(f)
			o.registry.registerDecrypt(f)
			parsed(f, &o.Policy, "policy", "", "string", "When to ask the registry", spec.ParsePullPolicy).oneOf(spec.PullPolicies...).def = "always"
			f.boolean(&o.Quiet, "quiet", "q", "Suppress verbose output")
			f.refuse("images are verified by signature policy (policy.json)", "omit it", "disable-content-trust!")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

func (o *pullFlags) run(ctx context.Context, a *app, args []string) error {
	if o.Policy == "" {
		o.Policy = spec.PullAlways
	}
	var err error
	if o.RemoteOptions, err = o.registry.options(a); err != nil {
		return err
	}
	if o.Platform, err = o.platform.value(); err != nil {
		return err
	}
	if !o.Quiet {
		o.Progress = a.out.OutWriter()
	}
	e, err := engineOf[imageEngine](ctx, a)
	if err != nil {
		return err
	}
	pull := func(ref string) error {
		if _, err := e.Pull(ctx, ref, o.PullOptions); err != nil {
			return err
		}
		if full, err := libpod.NormalizeName(ref); err == nil && !o.AllTags {
			a.out.Now(full)
		}
		return nil
	}
	if len(args) == 1 {
		return pull(args[0])
	}
	if o.AllTags {
		return errs.WithHint(errs.New(errs.Invalid, "--all-tags takes one name"), "pull one repository at a time")
	}
	return a.each(args, pull)
}

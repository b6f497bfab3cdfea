// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"
	"os"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/build"
	"github.com/proa-containers/proa/pkg/build/local"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

type buildFlags struct {
	o         build.Options
	file      string
	args      []string
	argFiles  []string
	labels    []string
	annots    []string
	contexts  []string
	secrets   []string
	ssh       []string
	platforms []string
	outputs   []string
	filters   []string
	allow     []string
	pull      string
	progress  string
	iidFile   string
	timestamp string
	quiet     bool
	check     bool

	steps buildRunFlags
}

func buildCommand() *command {
	return &command{
		name: "build", args: "[PATH | URL | -]", short: "Build an image from a Dockerfile", min: 0, max: 1, twin: "image build",
		setup: func(f *flagSet) action {
			o := &buildFlags{}
			o.register(f)
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

func (o *buildFlags) register(f *flagSet) {
	f.texts(&o.o.Tags, "tag", "t", `Name and optionally a tag ("name:tag")`)
	f.text(&o.file, "file", "f", `Name of the Dockerfile (default: "PATH/Dockerfile")`)
	f.texts(&o.args, "build-arg", "", "Set build-time variables")
	f.texts(&o.argFiles, "build-arg-file", "", "Read build-time variables from a file")
	f.texts(&o.contexts, "build-context", "", "Additional build contexts (name=path)")
	f.text(&o.o.Target, "target", "", "Set the target build stage to build")
	f.texts(&o.labels, "label", "", "Set metadata for an image")
	f.texts(&o.annots, "annotation", "", "Add annotation to the image")
	f.boolean(&o.o.NoCache, "no-cache", "", "Do not use cache when building the image")
	f.texts(&o.filters, "no-cache-filter", "", "Do not cache specified stages")
	f.text(&o.pull, "pull", "", `Always attempt to pull all referenced images ("always", "missing", "never", "newer")`).def = "missing"
	f.list[len(f.list)-1].isBool = true
	f.texts(&o.platforms, "platform", "", "Set target platform for build")
	f.texts(&o.outputs, "output", "o", `Output destination (format: "type=local,dest=path")`)
	f.text(&o.iidFile, "iidfile", "", "Write the image ID to the file")
	f.texts(&o.secrets, "secret", "", `Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")`)
	f.texts(&o.ssh, "ssh", "", `SSH agent socket to expose to the build (format: "default|<id>[=<socket>]")`)
	f.texts(&o.allow, "allow", "", `Allow extra privileged entitlement ("network.host", "security.insecure")`)
	f.text(&o.progress, "progress", "", `Set type of progress output ("auto", "plain", "tty", "json")`).def = "auto"
	f.boolean(&o.quiet, "quiet", "q", "Suppress the build output and print image ID on success")
	f.boolean(&o.check, "check", "", "Check the Dockerfile and stop")
	f.text(&o.timestamp, "timestamp", "", "Set the time of everything in the image, in seconds since 1970")
	f.alias(f.named["timestamp"], "source-date-epoch")
	f.boolean(&o.o.Squash, "squash", "", "Squash newly built layers into a single new layer")
	f.boolean(&o.o.KeepFailed, "keep-failed", "", "Keep the files of a failed RUN and say where they are")
	f.integer(&o.o.Jobs, "jobs", "", "How many stages may run at once")
	o.steps.register(f, &o.o)
	f.accept("intermediate containers are always removed", "rm!", "force-rm!")
	f.accept("the result is always an image of the local store", "load!")
	f.accept("layers are always cached", "layers!")
	var form string
	parsed(f, &form, "format", "", "string", `Form of the image: only "oci"`, parseImageForm)
	f.refuse("it is not implemented", "use a last stage that copies the files: FROM scratch, COPY --from=build / /", "squash-all!")
	f.refuse("there is one builder", "leave it away", "builder")
	f.refuse("registry caches are not implemented", "the local cache is always used", "cache-from", "cache-to")
	f.refuse("attestations are not implemented", "leave it away", "attest", "provenance", "sbom", "metadata-file")
	f.refuse("it is not implemented", "build, then: proa push NAME", "push!")
	f.refuse("images are verified by signature policy (policy.json)", "leave it away", "disable-content-trust!")
}

func (o *buildFlags) run(ctx context.Context, a *app, args []string) error {
	if err := o.fill(a); err != nil {
		return err
	}
	if o.check {
		return o.lint(ctx, a, args)
	}
	pod, err := a.pod(ctx)
	if err != nil {
		return err
	}
	if done, err := pod.EnterNamespace(ctx, os.Args[1:], o.o.Network != "none" && o.o.Network != "host"); done || err != nil {
		return err
	}
	// Only now: standard input may be the context.
	if err := o.fillContext(a, args); err != nil {
		return err
	}
	rep := o.reporter(a)
	var pulls io.Writer
	if !o.quiet {
		pulls = a.out.ErrWriter()
	}
	r, err := build.Build(ctx, o.o, local.New(pod, pulls), rep)
	rep.Finish(r, err)
	if err != nil {
		return err
	}
	if r.ImageID == "" {
		return nil // a directory or an archive
	}
	if o.quiet {
		a.out.Println("sha256:" + r.ImageID)
	}
	if o.iidFile == "" {
		return nil
	}
	return atomicfile.Write(a.abs(o.iidFile), []byte("sha256:"+r.ImageID), 0o644, atomicfile.Volatile)
}

// lint reports what the linter finds; it needs no images.
func (o *buildFlags) lint(ctx context.Context, a *app, args []string) error {
	if err := o.fillContext(a, args); err != nil {
		return err
	}
	o.o.CheckOnly = true
	r, err := build.Build(ctx, o.o, nil, o.reporter(a))
	if err != nil {
		return err
	}
	if n := len(r.Warnings); n > 0 {
		a.out.Println("Check complete, " + plural(n, "warning") + " found.")
		return &errs.ExitError{Code: 1}
	}
	a.out.Println("Check complete, no warnings found.")
	return nil
}

// fill turns the flags into build options.
func (o *buildFlags) fill(a *app) error {
	o.o.Getenv = a.std.Lookup
	if o.progress == "" {
		o.progress = "auto"
	}
	switch o.progress {
	case "auto", "plain", "tty", "json", "rawjson":
	default:
		return errs.WithHint(errs.New(errs.Invalid, "invalid progress mode %q", o.progress), "use auto, plain, tty or json")
	}
	for _, set := range []func(*app) error{o.fillArgs, o.fillPull, o.fillMaps, o.fillSecrets, o.fillTime, o.fillOutputs} {
		if err := set(a); err != nil {
			return err
		}
	}
	for _, al := range o.allow {
		o.o.AllowInsecure = o.o.AllowInsecure || al == "security.insecure"
	}
	return o.steps.fill(&o.o)
}

func (o *buildFlags) fillPull(*app) error {
	switch o.pull {
	case "", "false", "missing", "ifmissing":
		o.o.Pull = spec.PullMissing
	case "true", "always":
		o.o.Pull = spec.PullAlways
	default:
		p, err := spec.ParsePullPolicy(o.pull)
		if err != nil {
			return err
		}
		o.o.Pull = p
	}
	return nil
}

// pod is the engine itself: builds use more of it than commands do.
func (a *app) pod(ctx context.Context) (*libpod.Engine, error) {
	e, err := a.engine(ctx)
	if err != nil {
		return nil, err
	}
	pod, ok := e.(*libpod.Engine)
	if !ok {
		return nil, errs.New(errs.Internal, "builds need the real engine")
	}
	return pod, nil
}

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/proa-containers/proa/cmd/proa/cli/build/show"
	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/libpod/builder"
	"github.com/proa-containers/proa/pkg/build"
	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/build/runner"
	"github.com/proa-containers/proa/pkg/build/source"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

type buildFlags struct {
	o        build.Options
	files    []string
	args     []string
	argFiles []string
	labels   []string
	annots   []string
	contexts []string
	secrets  []string
	ssh      []string
	filters  []string
	allow    []string
	pull     string
	progress string
	logFile  string
	call     buildCall
	quiet    bool
	check    bool
	debug    bool

	pullAlways, pullNever bool

	steps buildRunFlags
	image buildImageFlags
	out   buildOutputFlags
	cache buildCacheFlags
}

func buildCommand() *command {
	return &command{
		examples: []string{
			`proa build -t web .                                                        from the Dockerfile of this directory`,
			`proa build -t web --target test -f ci/Dockerfile .                         one stage of another file`,
			`proa build -t web --build-arg VERSION=2 https://example.com/web.git#main   from a repository`,
			`proa build -t me/web:1 --platform linux/amd64,linux/arm64 --push .         for two platforms, to the registry`,
		},
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
	f.texts(&o.files, "file", "f", `Name or URL of the Dockerfile (default: "PATH/Dockerfile"); several are read as one`).suggests(files)
	f.texts(&o.args, "build-arg", "", "Set build-time variables").suggests(environment)
	f.text(&o.o.IgnoreFile, "ignorefile", "", "Name of the file to use instead of .dockerignore").suggests(files)
	f.texts(&o.argFiles, "build-arg-file", "", "Read build-time variables from a file").suggests(files)
	f.texts(&o.contexts, "build-context", "", "Additional build contexts (name=path)")
	f.text(&o.o.Target, "target", "", "Set the target build stage to build")
	f.texts(&o.labels, "label", "", "Set metadata for an image")
	f.texts(&o.annots, "annotation", "", "Add annotation to the image")
	o.image.register(f, &o.o)
	f.boolean(&o.o.NoCache, "no-cache", "", "Do not use cache when building the image")
	f.texts(&o.filters, "no-cache-filter", "", "Do not cache specified stages")
	f.text(&o.pull, "pull", "", "Always attempt to pull all referenced images").oneOf(spec.PullPolicies...).def = "missing"
	f.list[len(f.list)-1].isBool = true
	f.text(&o.logFile, "logfile", "", "Write the progress to the file").suggests(files)
	f.texts(&o.secrets, "secret", "", `Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")`)
	f.texts(&o.ssh, "ssh", "", `SSH agent socket to expose to the build (format: "default|<id>[=<socket>]")`)
	f.texts(&o.allow, "allow", "", "Allow the Dockerfile to use what RUN steps have not by default").oneOf("network.host", "security.insecure")
	f.text(&o.progress, "progress", "", "Set type of progress output").oneOf("auto", "plain", "tty", "quiet", "json").def = "auto"
	f.boolean(&o.quiet, "quiet", "q", "Suppress the build output and print image ID on success")
	f.boolean(&o.check, "check", "", "Check the Dockerfile and stop")
	parsed(f, &o.call, "call", "", "string", `What to do: "build", "check" the Dockerfile, list its "targets", or "outline" what the target takes`,
		parseCall).suggests(words("build", "check", "targets", "outline"))
	f.boolean(&o.debug, "debug", "D", "Open a shell in the state before a failed RUN")
	f.boolean(&o.o.KeepFailed, "keep-failed", "", "Keep the files of a failed RUN and say where they are")
	f.integer(&o.o.Jobs, "jobs", "", "How many stages may run at once; one more than CPUs without it")
	o.steps.register(f, &o.o)
	refuseBuild(f)
	o.out.register(f, &o.o)
	o.cache.register(f)
	parsed(f, &o.o.Docker, "format", "", "string", "Form of the image", parseImageForm).oneOf("oci", "docker").def = "oci"
	f.add(&flagDef{name: "builder", typ: "string", hidden: true, set: func(s string) error { return checkBuilder([]string{s}) }})
	f.boolean(&o.pullAlways, "pull-always", "", "Pull the base images even if they are there").hidden = true
	f.boolean(&o.pullNever, "pull-never", "", "Do not pull base images").hidden = true
}

// refuseBuild names what Docker and podman have and builds here do not, with
// the reason.
func refuseBuild(f *flagSet) {
	f.fixed("rm", true, "no intermediate containers are kept", "use --keep-failed to look into a failed step")
	f.accept("no intermediate containers are kept", "force-rm!")
	f.fixed("layers", true, "layers are always cached", "use --no-cache, or --squash for a single layer")
	f.accept("the context is not sent anywhere", "compress!", "stream!")
	f.fixed("disable-compression", true, "layers of the local store are not compressed", "push compresses them")
	f.fixed("identity-label", false, "images get no label with the name of the program", "write --label NAME=VALUE")
	f.fixed("inherit-annotations", false, "annotations belong to one image and are not inherited", "write --annotation NAME=VALUE")
	f.accept("annotations of base images are not inherited", "unsetannotation")
	f.fixed("compat-volumes", false, "what RUN writes to the directories of VOLUME is kept, as BuildKit does", "mount a tmpfs: RUN --mount=type=tmpfs,target=DIR")
	f.fixed("stdin", false, "RUN reads nothing from the terminal: a build must not depend on who starts it", "use a heredoc, or RUN --mount=type=secret")
	f.refuse("there are no images of intermediate steps", "use --target STAGE to name one", "layer-label", "save-stages!", "stage-labels!")
	f.refuse("one build writes one log", "use --logfile", "logsplit!")
	f.refuse("Dockerfiles are not run through the C preprocessor", "write the result to a file: cpp -P Dockerfile.in >Dockerfile", "cpp-flag")
	f.refuse("confidential workloads need a key server and special hardware", "omit it", "cw")
	f.refuse("images are signed when they are pushed", "omit it", "sign-by")
	f.refuse("images are verified by signature policy (policy.json)", "omit it", "disable-content-trust!", "signature-policy")
	f.refuse("Proa has one runtime, built in, without hooks", "omit it", "hooks-dir", "runtime", "runtime-flag")
	f.refuse("ids are mapped by one map per user", "omit it", "userns-uid-map", "userns-gid-map", "userns-uid-map-user", "userns-gid-map-group")
	f.refuse("Linux images have no such property", "omit it", "os-feature", "os-version")
	f.refuse("source policies are not implemented", "pin the base image: FROM NAME@sha256:...", "source-policy-file", "policy")
	f.refuse("layers are compressed when they are pushed", "use proa push --compression-format", "compression-format", "compression-level", "force-compression!")
	f.refuse("it is not measured", "time proa build ...", "log-rusage!", "rusage-logfile")
	f.refuse("storage options belong to the driver that the kernel offers", "omit it", "storage-opt")
	f.refuse("attestations are not implemented", "omit it", "sbom-image-output", "sbom-image-purl-output", "sbom-merge-strategy", "sbom-output",
		"sbom-purl-output", "sbom-scanner-command", "sbom-scanner-image")
}

func (o *buildFlags) run(ctx context.Context, a *app, args []string) (err error) {
	once := o.readsOnce(a) // then only the copy of this process in the namespace reads it
	if !once {
		if err := o.fill(a); err != nil {
			return err
		}
	}
	if o.debug && !(output.IsTerminal(a.std.In) && output.IsTerminal(a.std.Out)) {
		return errs.WithHint(errs.New(errs.Invalid, "--debug needs a terminal"), "use --keep-failed to look into a failed step later")
	}
	remote, err := o.out.remote.options(a)
	if err != nil {
		return err
	}
	if o.o.Web, err = source.NewWeb(remote.CertDir, remote.TLSVerify); err != nil {
		return err
	}
	if o.check {
		o.call.method = "check"
	}
	if o.call.method != "" && o.call.method != "build" {
		if once {
			if err := o.fill(a); err != nil {
				return err
			}
		}
		return o.describe(ctx, a, args)
	}
	pod, err := pod(ctx, a)
	if err != nil {
		return err
	}
	if done, err := pod.EnterNamespace(ctx, os.Args[1:], o.o.Network != "none" && o.o.Network != "host"); done || err != nil {
		return err
	}
	if once {
		if err := o.fill(a); err != nil {
			return err
		}
	}
	// Only now: standard input may be the context.
	if err := o.fillContext(ctx, a, args); err != nil {
		return err
	}
	rep, closeLog, err := o.reporter(a)
	if err != nil {
		return err
	}
	defer closeLog() //nolint:errcheck // the second time; the first result counts
	var pulls io.Writer
	switch r := rep.(type) {
	case *show.TTY:
		pulls = r.Pulls()
	case *show.Plain:
		pulls = r.Pulls()
	default:
		pulls = a.out.ErrWriter()
	}
	if o.quiet {
		pulls = nil
	}
	freeLayers, err := pod.HoldLayers()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, freeLayers()) }()
	if o.debug { // the shell comes after the build, on layers that nobody else may know
		release, err := cache.Hold(ctx, pod.BuildCacheDir())
		if err != nil {
			return err
		}
		defer release()
	}
	engine := builder.New(pod, pulls, remote)
	r, err := build.Build(ctx, o.o, engine, rep)
	var failed *runner.Failed
	if errors.As(err, &failed) {
		err = o.hintFailed(err)
	}
	rep.Finish(r, err)
	if o.debug && failed != nil {
		err = errors.Join(err, debugShell(ctx, a, failed, engine))
	}
	if err = errors.Join(err, closeLog()); err != nil {
		return err
	}
	if r.ImageID == "" { // a directory or an archive of files
		return o.out.writeDocument(nil)
	}
	return o.deliver(ctx, a, pod, r)
}

// hintFailed names what else helps with a failed RUN. With --keep-failed the error
// says itself where to look.
func (o *buildFlags) hintFailed(err error) error {
	switch {
	case o.o.KeepFailed:
		return err
	case o.debug:
		return errs.WithHint(err, "proa build --keep-failed keeps the state after the failed step")
	}
	return errs.WithHint(err, "proa build --debug opens a shell in the state before the failed step; --keep-failed keeps the state after it")
}

// debugShell lets the user look at what a failed step began with. The failure
// itself is told at its end, with what to do about it.
func debugShell(ctx context.Context, a *app, failed *runner.Failed, engine engine.Engine) error {
	a.out.Hint(failed.Error() + "\nThis shell is in the state before that step. Nothing that is done here is kept.")
	if err := a.out.Flush(); err != nil {
		return err
	}
	_, err := failed.Shell(ctx, engine, a.std.In, a.std.Out)
	return err
}

// fill turns the flags into build options.
func (o *buildFlags) fill(a *app) error {
	o.o.Getenv = a.std.Lookup
	if o.progress == "" {
		o.progress = "auto"
		if v, ok := a.std.Lookup("BUILDKIT_PROGRESS"); ok && v != "" {
			o.progress = v
		}
	}
	switch o.progress {
	case "auto", "plain", "tty", "json", "rawjson":
	case "quiet":
		o.quiet = true
	default:
		return errs.WithHint(errs.New(errs.Invalid, "invalid progress mode %q", o.progress), "use auto, plain, tty, quiet or json")
	}
	for _, set := range []func(*app) error{o.fillArgs, o.fillPull, o.fillMaps, o.fillSecrets} {
		if err := set(a); err != nil {
			return err
		}
	}
	for _, al := range o.allow {
		switch al {
		case "security.insecure":
			o.o.Allow.Insecure = true
		case "network.host":
			o.o.Allow.HostNetwork = true
		default:
			return errs.WithHint(errs.New(errs.Invalid, "invalid entitlement %q", al), "use network.host or security.insecure")
		}
	}
	if err := o.out.fill(a, &o.o); err != nil {
		return err
	}
	if err := o.cache.fill(a, &o.o); err != nil {
		return err
	}
	if err := o.image.fill(a, &o.o); err != nil {
		return err
	}
	if o.o.Docker && o.o.Edits.NoteCreation {
		return errs.WithHint(errs.New(errs.Invalid, "conflicting options: Docker's form has no annotations"), "use --label, or omit --format")
	}
	if o.o.Docker && slices.ContainsFunc(o.o.CacheTo, func(c cache.Spec) bool { return c.Kind == cache.KindInline }) {
		return errs.WithHint(errs.New(errs.Invalid, "conflicting options: the inline cache is an annotation, and Docker's form has none"), "use --cache-to type=registry, or omit --format")
	}
	return o.steps.fill(a, &o.o)
}

func (o *buildFlags) fillPull(*app) error {
	switch {
	case o.pullAlways:
		o.pull = "always"
	case o.pullNever:
		o.pull = "never"
	}
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
func pod(ctx context.Context, a *app) (*libpod.Engine, error) {
	return engineOf[*libpod.Engine](ctx, a)
}

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/build"
	"github.com/proa-containers/proa/pkg/build/local"
	"github.com/proa-containers/proa/pkg/cli/output"
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
	addHosts  []string
	capAdd    []string
	capDrop   []string
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
	f.text(&o.o.Network, "network", "", `Set the networking mode for the RUN instructions ("default", "none", "host")`)
	f.texts(&o.addHosts, "add-host", "", `Add a custom host-to-IP mapping (format: "host:ip")`)
	f.text(&o.timestamp, "timestamp", "", "Set the time of everything in the image, in seconds since 1970")
	f.alias(f.named["timestamp"], "source-date-epoch")
	f.boolean(&o.o.Squash, "squash", "", "Squash newly built layers into a single new layer")
	f.boolean(&o.o.KeepFailed, "keep-failed", "", "Keep the files of a failed RUN and say where they are")
	f.integer(&o.o.Jobs, "jobs", "", "How many stages may run at once")
	f.texts(&o.capAdd, "cap-add", "", "Add Linux capabilities for RUN")
	f.texts(&o.capDrop, "cap-drop", "", "Drop Linux capabilities for RUN")
	parsed(f, &o.o.ShmSize, "shm-size", "", "bytes", "Size of /dev/shm for RUN", spec.ParseSize)
	parsed(f, &o.o.Resources.Memory, "memory", "m", "bytes", "Memory limit for RUN", spec.ParseSize)
	parsedList(f, &o.o.Resources.Ulimits, "ulimit", "", "ulimit", "Ulimit options for RUN", spec.ParseUlimit)
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
	f.refuse("cgroup settings of RUN steps other than --memory are not implemented", "leave it away", "cgroup-parent", "cpu-period", "cpu-quota", "cpu-shares", "cpuset-cpus", "cpuset-mems", "memory-swap", "isolation", "security-opt")
	f.refuse("images are verified by signature policy (policy.json)", "leave it away", "disable-content-trust!")
}

// parseImageForm accepts the one form that builds have.
func parseImageForm(s string) (string, error) {
	if s != "oci" {
		return "", errs.WithHint(errs.New(errs.Unsupported, "image form %q is not supported: images are built in OCI form", s), "leave --format away")
	}
	return s, nil
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

// reporter shows progress as asked: on a terminal one line per step, else
// Docker's classic text.
func (o *buildFlags) reporter(a *app) buildReporter {
	switch {
	case o.quiet:
		return output.NewBuildPlain(io.Discard, a.out.ErrWriter())
	case o.progress == "json", o.progress == "rawjson":
		return output.NewBuildJSON(a.out.OutWriter())
	case o.progress == "tty", o.progress == "auto" && o.o.Output.Dest != "-" && output.IsTerminal(a.std.Out):
		return output.NewBuildTTY(a.out.OutWriter(), func() (int, int) { return output.TerminalSize(a.std.Out) })
	}
	o.o.MeasureContext = true
	out := a.out.OutWriter()
	if o.o.Output.Dest == "-" {
		out = a.out.ErrWriter() // standard output is the archive
	}
	return output.NewBuildPlain(out, a.out.ErrWriter())
}

type buildReporter interface {
	build.Reporter
	Finish(*build.Result, error)
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
	for _, h := range o.addHosts {
		hosts, err := spec.ParseAddHost(h)
		if err != nil {
			return err
		}
		o.o.ExtraHosts = append(o.o.ExtraHosts, hosts...)
	}
	var err error
	if o.o.CapAdd, err = spec.ParseCaps(o.capAdd); err != nil {
		return err
	}
	if o.o.CapDrop, err = spec.ParseCaps(o.capDrop); err != nil {
		return err
	}
	for _, al := range o.allow {
		o.o.AllowInsecure = o.o.AllowInsecure || al == "security.insecure"
	}
	return nil
}

func (o *buildFlags) fillContext(a *app, args []string) error {
	where := "."
	if len(args) == 1 {
		where = args[0]
	}
	stdinFile := o.file == "-"
	if stdinFile {
		text, err := io.ReadAll(io.LimitReader(a.std.In, 16<<20))
		if err != nil {
			return err
		}
		o.o.Inline = text
	}
	if where != "-" && !strings.Contains(where, "://") && !strings.HasPrefix(where, "git@") && !strings.HasPrefix(where, "github.com/") {
		where = a.abs(where)
	}
	src, inline, err := build.ParseSource(where, a.std.In, stdinFile)
	if err != nil {
		return err
	}
	o.o.Context = src
	if inline != nil {
		o.o.Inline = inline
	}
	if o.file == "" || stdinFile {
		return nil
	}
	o.o.Dockerfile = o.file
	// Docker looks for -f from the current directory, then in the context.
	if p := a.abs(o.file); src.Dir != "" {
		if _, err := os.Stat(p); err == nil {
			o.o.Dockerfile = p
		}
	}
	return nil
}

func (o *buildFlags) fillArgs(a *app) error {
	o.o.Args = map[string]*string{}
	for _, file := range o.argFiles {
		text, err := os.ReadFile(a.abs(file))
		if err != nil {
			return errs.New(errs.NotFound, "cannot read %q: %v", file, err)
		}
		kvs, err := spec.ParseEnvFile(file, text, a.std.Lookup)
		if err != nil {
			return err
		}
		for _, kv := range kvs {
			k, v, _ := strings.Cut(kv, "=")
			o.o.Args[k] = &v
		}
	}
	for _, kv := range o.args {
		k, v, ok := strings.Cut(kv, "=")
		if k == "" {
			return errs.New(errs.Invalid, "invalid build argument %q: it has no name", kv)
		}
		if o.o.Args[k] = nil; ok {
			o.o.Args[k] = &v
		}
	}
	return nil
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

func (o *buildFlags) fillMaps(*app) (err error) {
	if o.o.Labels, err = spec.ParseKeyValues("label", o.labels); err != nil {
		return err
	}
	if o.o.Annotations, err = spec.ParseKeyValues("annotation", o.annots); err != nil {
		return err
	}
	if o.o.Contexts, err = spec.ParseKeyValues("build-context", o.contexts); err != nil {
		return err
	}
	for _, f := range o.filters {
		o.o.NoCacheFilter = append(o.o.NoCacheFilter, strings.Split(f, ",")...)
	}
	if len(o.platforms) > 1 || len(o.platforms) == 1 && strings.Contains(o.platforms[0], ",") {
		return errs.WithHint(errs.New(errs.Unsupported, "several platforms in one build are not supported"), "build once per platform and join them with: proa manifest create")
	}
	if len(o.platforms) == 1 {
		o.o.Platform, err = spec.ParsePlatform(o.platforms[0])
	}
	return err
}

// fillSecrets reads --secret id=ID[,src=FILE|,env=VAR] and --ssh ID[=SOCKET].
func (o *buildFlags) fillSecrets(a *app) error {
	o.o.Secrets, o.o.SSH = map[string]build.Secret{}, map[string]string{}
	for _, s := range o.secrets {
		id, sec, err := parseSecret(a, s)
		if err != nil {
			return err
		}
		o.o.Secrets[id] = sec
	}
	for _, s := range o.ssh {
		id, sock, ok := strings.Cut(s, "=")
		if !ok {
			if sock, ok = a.std.Lookup("SSH_AUTH_SOCK"); !ok {
				return errs.WithHint(errs.New(errs.Invalid, "invalid empty ssh agent socket: SSH_AUTH_SOCK is not set"), "start an agent with: eval $(ssh-agent)")
			}
		}
		o.o.SSH[id] = a.abs(sock)
	}
	return nil
}

func parseSecret(a *app, s string) (id string, sec build.Secret, err error) {
	kind := ""
	for _, part := range strings.Split(s, ",") {
		k, v, _ := strings.Cut(part, "=")
		switch k {
		case "id":
			id = v
		case "src", "source":
			sec.File = a.abs(v)
		case "env":
			sec.Env = v
		case "type":
			kind = v
		default:
			return "", sec, errs.New(errs.Invalid, "invalid secret %q: unexpected key %q", s, k)
		}
	}
	if id == "" {
		return "", sec, errs.New(errs.Invalid, "invalid secret %q: it needs id=NAME", s)
	}
	if sec.File == "" && sec.Env == "" {
		// As in Docker: a variable of that name, else a file.
		if _, ok := a.std.Lookup(id); ok || kind == "env" {
			sec.Env = id
		} else {
			sec.File = a.abs(id)
		}
	}
	if sec.File != "" {
		if _, err := os.Stat(sec.File); err != nil {
			return "", sec, errs.New(errs.NotFound, "secret %q: %v", id, err)
		}
	}
	return id, sec, nil
}

func (o *buildFlags) fillTime(a *app) error {
	v := o.timestamp
	if v == "" {
		v, _ = a.std.Lookup("SOURCE_DATE_EPOCH")
	}
	if v == "" {
		return nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return errs.New(errs.Invalid, "invalid timestamp %q: it should be seconds since 1970", v)
	}
	t := time.Unix(n, 0).UTC()
	o.o.Epoch = &t
	return nil
}

// fillOutputs reads -o: a directory, "-", or type=image|local|tar|docker|oci.
func (o *buildFlags) fillOutputs(a *app) error {
	if len(o.outputs) > 1 {
		return errs.New(errs.Unsupported, "several --output are not supported")
	}
	for _, out := range o.outputs {
		kind, dest := "local", out
		if strings.Contains(out, "=") {
			kind, dest = "", ""
			for _, part := range strings.Split(out, ",") {
				switch k, v, _ := strings.Cut(part, "="); k {
				case "type":
					kind = v
				case "dest":
					dest = v
				case "name":
					o.o.Tags = append(o.o.Tags, v)
				default:
					return errs.New(errs.Invalid, "invalid output %q: unexpected key %q", out, k)
				}
			}
		}
		if err := o.setOutput(a, kind, dest, out); err != nil {
			return err
		}
	}
	return nil
}

func (o *buildFlags) setOutput(a *app, kind, dest, text string) error {
	switch kind {
	case "image", "docker":
		if dest != "" {
			return errs.WithHint(errs.New(errs.Unsupported, "output type %s with dest is not supported", kind), "build with -t NAME, then: proa save -o %s NAME", dest)
		}
		return nil
	case "local", "tar":
		if dest == "" {
			return errs.New(errs.Invalid, "invalid output %q: it needs dest=PATH", text)
		}
		if dest == "-" {
			kind = "tar"
		} else {
			dest = filepath.Clean(a.abs(dest))
		}
		o.o.Output = build.Output{Kind: kind, Dest: dest, Stdout: a.out.OutWriter()}
		return nil
	}
	return errs.WithHint(errs.New(errs.Unsupported, "output type %q is not supported", kind), "use type=image, type=local or type=tar")
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

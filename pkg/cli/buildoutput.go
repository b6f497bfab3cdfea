// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/proa-containers/proa/cmd/proa/cli/build/show"
	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/build"
	"github.com/proa-containers/proa/pkg/build/exporter"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// buildOutputFlags say for which platforms a build is and where its result goes.
type buildOutputFlags struct {
	platforms []string
	os, arch  string
	variant   string
	outputs   []string
	iidFile   string
	iidRaw    string
	metadata  string
	push      bool
	load      bool
	remote    registryFlags

	archives  []buildArchive
	pushNames []string // to be pushed by name
	pushAll   bool     // all tags
	stdout    bool     // standard output is an archive
}

// buildArchive is a file or a directory to write the image to.
type buildArchive struct {
	format string // as of SaveOptions
	dest   string // "-": standard output
}

func (r *buildOutputFlags) register(f *flagSet, o *build.Options) {
	f.texts(&r.platforms, "platform", "", "Set target platforms for build (OS/ARCH[/VARIANT], comma-separated)")
	f.text(&r.os, "os", "", "Operating system to build for").hidden = true
	f.text(&r.arch, "arch", "", "Architecture to build for").hidden = true
	f.text(&r.variant, "variant", "", "Variant of the architecture to build for").hidden = true
	f.boolean(&o.AllPlatforms, "all-platforms", "", "Build for all platforms that the base images have")
	f.text(&o.Manifest, "manifest", "", "Add the images to the manifest list of this name")
	f.texts(&r.outputs, "output", "o", `Output destination (format: "type=local,dest=path")`)
	f.text(&r.iidFile, "iidfile", "", "Write the image ID to the file").path()
	f.text(&r.iidRaw, "iidfile-raw", "", "Write the image ID without the algorithm to the file").path()
	f.text(&r.metadata, "metadata-file", "", "Write build result metadata to the file").path()
	f.boolean(&r.push, "push", "", "Push the image to its registry after the build")
	parsed(f, &r.load, "load", "", "", "Keep the image in the local store (always so where one is made)", parseLoad).isBool = true
	r.remote.register(f)
	f.named["cert-dir"].usage = "Directory with certificates of registries, and of servers that files and repositories come from"
	f.named["tls-verify"].usage = "Require valid certificates of registries and other servers (default: unless a registry is on loopback)"
	r.remote.registerRetry(f)
	r.remote.registerDecrypt(f)
	for _, n := range []string{"attest", "provenance", "sbom"} {
		var none string
		parsed(f, &none, n, "", "string", `Attestations: only "false"`, parseAttestation).hidden = true
	}
}

// parseLoad refuses what --load=false asks for: an image is always kept.
func parseLoad(s string) (bool, error) {
	on, err := strconv.ParseBool(s)
	if err != nil {
		return false, errs.New(errs.Invalid, "write true or false")
	}
	if !on {
		return false, errs.WithHint(errs.New(errs.Unsupported, "an image that is built is always kept in the local store"), "use -o type=local for files alone, or remove it: proa rmi NAME")
	}
	return true, nil
}

// parseAttestation accepts what asks for no attestation.
func parseAttestation(s string) (string, error) {
	fields := strings.Split(s, ",")
	if no, err := strconv.ParseBool(s); err == nil && !no || slices.Contains(fields, "disabled=true") {
		return s, nil
	}
	return "", errs.WithHint(errs.New(errs.Unsupported, "attestations are not implemented"), "omit it, or write false")
}

// reporter shows progress as asked: on a terminal one line per step, else
// Docker's classic text. close ends the log file, if there is one.
func (o *buildFlags) reporter(a *app) (rep buildReporter, closeLog func() error, err error) {
	out, errOut := a.out.OutWriter(), a.out.ErrWriter()
	if o.out.stdout {
		out = errOut // standard output is the archive
	}
	closeLog = func() error { return nil }
	terminal := o.progress == "auto" && !o.out.stdout && output.MovesCursor(a.std.Out, a.std.Lookup)
	if o.logFile != "" {
		path, err := a.abs(o.logFile)
		if err != nil {
			return nil, nil, err
		}
		f, err := os.Create(path)
		if err != nil {
			return nil, nil, errs.WithHint(errs.New(errs.Invalid, "cannot write the log: %v", err), "check the path of --logfile")
		}
		out, errOut, closeLog, terminal = f, f, f.Close, false
	}
	switch {
	case o.quiet && o.logFile == "":
		return show.NewQuiet(errOut), closeLog, nil
	case o.progress == "json", o.progress == "rawjson":
		return show.NewJSON(out), closeLog, nil
	case o.progress == "tty", terminal:
		size := func() (int, int) { return show.TerminalSize(a.std.Out) }
		return show.NewTTY(out, size, o.logFile == "" && output.HasColour(a.std.Out, a.std.Lookup)), closeLog, nil
	}
	o.o.MeasureContext = true
	plain := show.NewPlain(out, errOut)
	plain.Classic = a.std.Name == "docker"
	return plain, closeLog, nil
}

type buildReporter interface {
	build.Reporter
	Finish(*build.Result, error)
}

func (r *buildOutputFlags) fill(a *app, o *build.Options) error {
	for _, list := range r.platforms {
		for _, p := range strings.Split(list, ",") {
			p, err := spec.ParseAnyPlatform(strings.TrimSpace(p))
			if err != nil {
				return err
			}
			o.Platforms = append(o.Platforms, p)
		}
	}
	if err := r.joinPlatform(o); err != nil {
		return err
	}
	if err := a.absolute(&r.iidFile, &r.iidRaw, &r.metadata); err != nil {
		return err
	}
	if o.AllPlatforms && len(o.Platforms) > 0 {
		return errs.New(errs.Invalid, "--all-platforms and --platform exclude each other")
	}
	o.NoImage = len(r.outputs) > 0 && !r.push && !r.load && o.Manifest == ""
	for _, out := range r.outputs {
		if err := r.addOutput(a, o, out); err != nil {
			return err
		}
	}
	r.pushAll = r.pushAll || r.push
	if (r.pushAll || len(r.pushNames) > 0) && len(o.Tags) == 0 && o.Manifest == "" {
		return errs.WithHint(errs.New(errs.Invalid, "tag is needed when pushing to registry"), "name the image: -t REGISTRY/NAME")
	}
	return nil
}

// joinPlatform makes one platform of podman's three flags.
func (r *buildOutputFlags) joinPlatform(o *build.Options) error {
	if r.os+r.arch+r.variant == "" {
		return nil
	}
	if len(o.Platforms) > 0 {
		return errs.WithHint(errs.New(errs.Invalid, "conflicting options: --platform and --os, --arch or --variant"), "use --platform alone")
	}
	parts := []string{cmp.Or(r.os, "linux"), cmp.Or(r.arch, runtime.GOARCH)}
	if r.variant != "" {
		parts = append(parts, r.variant)
	}
	p, err := spec.ParseAnyPlatform(strings.Join(parts, "/"))
	o.Platforms = []string{p}
	return err
}

// imageOutput is one --output, taken apart.
type imageOutput struct {
	kind, dest string
	names      []string
	push, dir  bool
}

// addOutput reads one -o: a directory, "-", or type=local|tar|oci|docker|image|registry.
func (r *buildOutputFlags) addOutput(a *app, o *build.Options, text string) error {
	out, err := parseOutput(text)
	if err != nil {
		return err
	}
	if out.dest == "-" || out.kind == "oci" && out.dest == "" {
		if r.stdout {
			return errs.New(errs.Invalid, "invalid output %q: two results cannot both go to standard output", text)
		}
		if output.IsTerminal(a.std.Out) {
			return errs.WithHint(errs.New(errs.Invalid, "cannot write an archive to a terminal"), "write dest=FILE, or redirect the output")
		}
		r.stdout, out.dest = true, "-"
	} else if err := a.absolute(&out.dest); err != nil {
		return err
	}
	o.Tags = append(o.Tags, out.names...)
	switch out.kind {
	case "local", "tar":
		return r.addExport(a, o, out, text)
	case "oci", "docker":
		return r.addArchive(o, out, text)
	case "image", "registry":
		if out.dest != "" {
			return errs.New(errs.Invalid, "invalid output %q: type=%s has no dest", text, out.kind)
		}
		o.NoImage = false
		switch {
		case !out.push && out.kind == "image":
		case len(out.names) > 0:
			r.pushNames = append(r.pushNames, out.names...)
		default:
			r.pushAll = true
		}
		return nil
	}
	return errs.WithHint(errs.New(errs.Unsupported, "output type %q is not supported", out.kind), "use type=image, registry, oci, docker, local or tar")
}

func parseOutput(text string) (imageOutput, error) {
	if !strings.Contains(text, "=") {
		if text == "-" {
			return imageOutput{kind: "tar", dest: "-"}, nil
		}
		return imageOutput{kind: "local", dest: text}, nil
	}
	var out imageOutput
	// As in buildx: a field with commas is quoted.
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return out, errs.New(errs.Invalid, "invalid output %q: %v", text, err)
	}
	for _, part := range fields {
		k, v, _ := strings.Cut(part, "=")
		switch k {
		case "type":
			out.kind = v
		case "dest":
			out.dest = v
		case "name":
			out.names = append(out.names, strings.Split(v, ",")...)
		case "push":
			out.push, err = strconv.ParseBool(v)
		case "tar":
			out.dir, err = strconv.ParseBool(v)
			out.dir = !out.dir
		case "oci-mediatypes":
			var oci bool
			if oci, err = strconv.ParseBool(v); err == nil && !oci {
				return out, errs.WithHint(errs.New(errs.Unsupported, "invalid output %q: oci-mediatypes=false is not supported in --output", text), "use --format docker")
			}
		default:
			return out, errs.New(errs.Invalid, "invalid output %q: unexpected key %q", text, k)
		}
		if err != nil {
			return out, errs.New(errs.Invalid, "invalid output %q: %s is true or false", text, k)
		}
	}
	return out, nil
}

func (r *buildOutputFlags) addExport(a *app, o *build.Options, out imageOutput, text string) error {
	switch {
	case out.dest == "":
		return errs.New(errs.Invalid, "invalid output %q: it needs dest=PATH", text)
	case out.push || len(out.names) > 0:
		return errs.New(errs.Invalid, "invalid output %q: type=%s makes no image", text, out.kind)
	case out.dest == "-":
		out.kind = "tar"
	}
	o.Exports = append(o.Exports, exporter.Target{Kind: exporter.Kind(out.kind), Dest: out.dest, Stdout: a.out.OutWriter()})
	return nil
}

func (r *buildOutputFlags) addArchive(o *build.Options, out imageOutput, text string) error {
	o.NoImage = false
	if out.push {
		return errs.WithHint(errs.New(errs.Invalid, "invalid output %q: an archive is not pushed", text), "add -o type=registry")
	}
	if out.dest == "" { // of docker: the local store
		return nil
	}
	format := out.kind + "-archive"
	switch {
	case out.kind == "docker" && (len(o.Platforms) > 1 || o.AllPlatforms || o.Manifest != ""):
		return errs.WithHint(errs.New(errs.Unsupported, "invalid output %q: the archive of Docker holds no manifest list", text), "use type=oci")
	case out.dir && out.kind == "docker":
		return errs.WithHint(errs.New(errs.Unsupported, "invalid output %q: Docker's form is an archive", text), "use type=oci,tar=false")
	case out.dir && out.dest == "-":
		return errs.New(errs.Invalid, "invalid output %q: a directory needs dest=PATH", text)
	case out.dir:
		format = "oci-dir"
	}
	r.archives = append(r.archives, buildArchive{format, out.dest})
	return nil
}

// deliver puts a finished image where the outputs say, and writes the files
// about it.
func (o *buildFlags) deliver(ctx context.Context, a *app, pod *libpod.Engine, r *build.Result) error {
	out := &o.out
	refs := r.Names
	if len(refs) == 0 {
		refs = []string{r.ImageID}
	}
	for _, ar := range out.archives {
		so := libpod.SaveOptions{Format: ar.format, Path: ar.dest}
		if ar.dest == "-" {
			so.Path, so.Output = "", a.out.OutWriter()
		}
		if err := pod.Save(ctx, refs, so); err != nil {
			return err
		}
	}
	pushed, err := o.pushAll(ctx, a, pod, r)
	if err != nil {
		return err
	}
	if o.quiet && !out.stdout {
		a.out.Println("sha256:" + r.ImageID)
	}
	if out.metadata != "" {
		if err := out.writeMetadata(ctx, a, pod, r, pushed); err != nil {
			return err
		}
	}
	for _, w := range []struct{ file, text string }{{out.iidFile, "sha256:" + r.ImageID}, {out.iidRaw, r.ImageID}} {
		if w.file == "" {
			continue
		}
		if err := atomicfile.Write(w.file, []byte(w.text), 0o644, atomicfile.Volatile); err != nil {
			return err
		}
	}
	return nil
}

// pushProgress is where pushes tell what they do.
func (o *buildFlags) pushProgress(a *app) io.Writer {
	if o.out.stdout || o.progress == "json" || o.progress == "rawjson" {
		return a.out.ErrWriter()
	}
	return a.out.OutWriter()
}

func (o *buildFlags) pushAll(ctx context.Context, a *app, pod *libpod.Engine, r *build.Result) (*libpod.Pushed, error) {
	names := o.out.pushNames
	if o.out.pushAll {
		names = r.Names
	}
	remote, err := o.out.remote.options(a)
	if err != nil {
		return nil, err
	}
	var last *libpod.Pushed
	for _, n := range names {
		po := libpod.PushOptions{RemoteOptions: remote, Quiet: o.quiet}
		if !o.quiet {
			po.Progress = o.pushProgress(a)
		}
		done, err := pod.Push(ctx, n, po)
		if err != nil {
			return nil, err
		}
		last = &done[len(done)-1]
	}
	return last, nil
}

// writeMetadata writes what buildx writes about a result.
func (r *buildOutputFlags) writeMetadata(ctx context.Context, a *app, pod *libpod.Engine, res *build.Result, pushed *libpod.Pushed) error {
	d, err := pod.ManifestDescriptor(ctx, res.ImageID)
	if err != nil {
		return err
	}
	if pushed != nil {
		d.Digest, d.Size = pushed.Digest, int64(pushed.Size)
	}
	doc := map[string]any{"containerimage.descriptor": d, "containerimage.digest": d.Digest}
	if len(res.Images) == 1 && res.Images[0].ID == res.ImageID {
		doc["containerimage.config.digest"] = "sha256:" + res.ImageID
	}
	if len(res.Names) > 0 {
		var full []string
		for _, n := range res.Names {
			f, err := libpod.NormalizeName(n)
			if err != nil {
				return err
			}
			full = append(full, f)
		}
		doc["image.name"] = strings.Join(full, ",")
	}
	return r.writeDocument(doc)
}

// writeDocument writes the file of --metadata-file, if one is wanted.
func (r *buildOutputFlags) writeDocument(doc map[string]any) error {
	if r.metadata == "" {
		return nil
	}
	if doc == nil {
		doc = map[string]any{} // nothing to say, but scripts read the file
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(r.metadata, append(text, '\n'), 0o644, atomicfile.Volatile)
}

// SPDX-License-Identifier: Apache-2.0

// Package build executes Dockerfiles. BuildKit's own parser reads them; this
// package plans the stages that the target needs, runs independent ones side
// by side, and asks an engine for everything that touches images, layers and
// containers.
//
// The way of one instruction:
//
//	expand -> cache key -> known? use that layer
//	                    -> else: new writable layer -> RUN / COPY / ADD -> commit -> remember under the key
//
// A key is made of the parent's key, of what the instruction says, and of a
// digest of the files that it reads. The cache knows that of a stage's files, so a
// lookup needs no layer content.
package build

import (
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/dockerfile"
	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/build/exporter"
	"github.com/proa-containers/proa/pkg/build/runner"
	"github.com/proa-containers/proa/pkg/build/source"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// Options is one build as the user asked for it.
type Options struct {
	Context        source.Source   // the build context
	Dockerfiles    []string        // in the context, absolute, or URLs; read as one; none: Dockerfile, dockerfile, Containerfile
	Inline         []byte          // the Dockerfile's own bytes ("-f -", "docker build -"), instead of Dockerfile
	Contexts       source.Contexts // --build-context NAME=VALUE
	Web            *source.Web     // how contexts, Dockerfiles and files of ADD are downloaded; nil: the usual way
	Tags           []string
	Target         string
	Args           map[string]*string // --build-arg; nil value: from Env
	Labels         map[string]string
	Annotations    []Annotation
	Platforms      []string // os/arch[/variant]; none: the host's
	AllPlatforms   bool     // instead: those that the base images have
	Manifest       string   // name of a manifest list that gets the images
	List           bool     // make a manifest list of a single image, too
	CacheNamespace string   // cache mounts of another one are not seen
	NoCache        bool
	NoCacheFilter  []string // stages that must not use the cache
	Pull           spec.PullPolicy
	Squash         bool
	Epoch          *time.Time     // --timestamp or SOURCE_DATE_EPOCH
	NeedEpoch      bool           // without any it is an error
	KeepTimes      bool           // with Epoch: files keep their times, only image and history show it
	Network        string         // of RUN: default, none, host; what the user says needs no further permission
	Run            spec.Container // what else the containers of RUN steps get: limits, mounts, hosts
	PassProxy      bool           // RUN sees the caller's proxy variables; no image keeps them
	Edits          Edits
	Docker         bool // images get Docker's manifest instead of the OCI one
	Secrets        map[string]runner.Secret
	SSH            map[string]string // id -> agent socket
	Allow          Entitlements
	KeepFailed     bool   // keep the layer of a failed RUN and say how to enter it
	CheckOnly      bool   // --check: lint and stop
	CheckDir       string // with CheckOnly: where builds have their own files
	// BaseEnv are, with CheckOnly, the variables of an image that is here; nil: none is.
	BaseEnv        func(ref string) (env []string, here bool)
	MeasureContext bool   // tell the reporter how large the context is
	Jobs           int    // stages that may run at once; 0: one more than CPUs
	From           string // instead of the first FROM's image
	IgnoreFile     string // instead of .dockerignore
	AllStages      bool   // build what the target does not need as well
	CacheFrom      []cache.Spec
	CacheTo        []cache.Spec
	CacheTTL       time.Duration // steps that were made longer ago are made again; 0: however old
	NoImage        bool          // only Exports
	Exports        []exporter.Target
	Getenv         func(string) (string, bool)
}

// Entitlements are what a Dockerfile may take by itself. It may be somebody
// else's: nothing is allowed that the user has not named.
type Entitlements struct {
	HostNetwork bool // RUN --network=host
	Insecure    bool // RUN --security=insecure
}

// AnnotationKind says what an annotation is of.
type AnnotationKind string

const (
	OfManifest AnnotationKind = "manifest"            // of an image
	OfIndex    AnnotationKind = "index"               // of the manifest list
	OfEntry    AnnotationKind = "manifest-descriptor" // of an image's entry in the list
)

// Annotation is one --annotation.
type Annotation struct {
	Kind       AnnotationKind
	Platform   string // of the image; empty: all
	Key, Value string
}

// annotations are those of a kind, for the image of a platform.
func (o *Options) annotations(kind AnnotationKind, platform string) map[string]string {
	var m map[string]string
	for _, a := range o.Annotations {
		if a.Kind == kind && (a.Platform == "" || a.Platform == platform) {
			if m == nil {
				m = map[string]string{}
			}
			m[a.Key] = a.Value
		}
	}
	return m
}

// makesList says that the images go into a manifest list.
func (o *Options) makesList() bool {
	return len(o.Platforms) > 1 || o.AllPlatforms || o.Manifest != "" || o.List
}

// checkAnnotations refuses those that there will be nothing to put on.
func (o *Options) checkAnnotations() error {
	for _, a := range o.Annotations {
		switch {
		case o.Docker:
			return errs.WithHint(errs.New(errs.Invalid, "conflicting options: Docker's form has no annotations"),
				"use --label, or omit --format")
		case a.Kind == OfManifest:
		case !o.makesList():
			err := errs.New(errs.Invalid, "annotation %s:%s has no place: the image is in no manifest list", a.Kind, a.Key)
			return errs.WithHint(err, "add --manifest NAME, or omit %s:", a.Kind)
		}
	}
	return nil
}

// Edits change the image beyond what the Dockerfile says.
type Edits struct {
	Env          []string // KEY=VALUE, set where a stage starts from an image
	UnsetEnv     []string // taken out of the finished image
	UnsetLabels  []string
	DropLabels   bool // labels of base images are not inherited
	DropHistory  bool
	SquashAll    bool // one layer, the base image's included
	NoteCreation bool // annotate when it was created
}

// Result is a finished build.
type Result struct {
	ImageID  string // hex; of the manifest list where several platforms or a list were asked for
	Names    []string
	Images   []PlatformImage // one per platform, in the order asked for
	Warnings []Warning
	Targets  []Target // with CheckOnly
	Outline  *Outline // with CheckOnly
}

// PlatformImage is the image of one platform.
type PlatformImage struct {
	Platform string // os/arch[/variant]
	ID       string // hex
	Config   dockerspec.DockerOCIImage
	Top      Layer // the last layer of the target stage
}

// Warning is one finding, of the linter or of the build.
type Warning = dockerfile.Warning

// Layer is a layer of the engine's store.
type Layer = engine.Layer

// Reporter is told how the build goes; one event at a time per stage, from
// several goroutines.
type Reporter interface {
	// Plan is called once, before anything runs.
	Plan(stages []StageInfo, steps int)
	// Context is the size in bytes of a directory context, without what the ignore file
	// leaves out, with Options.MeasureContext. Without it, it is how much the steps read,
	// once that is a lot.
	Context(size int64)
	Step(e StepEvent)
	// Output is what a RUN prints. The slice is only valid during the call.
	Output(step StepRef, stderr bool, p []byte)
	Warn(w Warning)
}

// StageInfo describes one stage of the plan.
type StageInfo struct {
	Index    int // unique in the build
	Name     string
	Base     string
	Steps    int
	First    int    // number of its first step
	Platform string // with several platforms: what it is for ("linux/arm64", "linux/amd64->arm64")
}

// StepRef names one instruction: Number counts from 1 over the whole plan.
type StepRef struct {
	Stage, Number, Total int
	Line                 int
	Trigger              bool // an ONBUILD instruction of the base image: not among Total
	Triggers             int  // of those that belong to the same FROM, how many are still to come
}

// StepState is what happened to a step.
type StepState int

const (
	StepStarted StepState = iota
	StepCached            // the result was known
	StepRunning           // Container is set
	StepDone
	StepFailed
	StepCanceled // the user or the failure of another step ended it
)

// StepEvent is a change of one step.
type StepEvent struct {
	StepRef
	State     StepState
	Text      string // the instruction as written
	Container string
	Result    string // the id shown after "--->"
	Err       error
	Took      time.Duration
}

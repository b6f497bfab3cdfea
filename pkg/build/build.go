// SPDX-License-Identifier: Apache-2.0

// Package build executes Dockerfiles. BuildKit's own parser reads them; this
// package plans the stages that the target needs, runs independent ones side
// by side, and asks an Engine for everything that touches images, layers and
// containers.
//
// The way of one instruction:
//
//	expand -> cache key -> known? use that layer
//	                    -> else: new writable layer -> RUN / COPY / ADD -> commit -> remember under the key
//
// A key is made of the parent's key and of what the instruction says and
// reads, so a lookup needs no layer content.
package build

import (
	"context"
	"io"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/dockerfile"
	"github.com/proa-containers/proa/pkg/build/source"
	"github.com/proa-containers/proa/pkg/spec"
)

// Options is one build as the user asked for it.
type Options struct {
	Context        source.Source   // the build context
	Dockerfile     string          // path inside the context, or an absolute path; empty: Dockerfile, then Containerfile
	Inline         []byte          // the Dockerfile's own bytes ("-f -", "docker build -"), instead of Dockerfile
	Contexts       source.Contexts // --build-context NAME=VALUE
	Tags           []string
	Target         string
	Args           map[string]*string // --build-arg; nil value: from Env
	Labels         map[string]string
	Annotations    map[string]string
	Platforms      []string // os/arch[/variant]; none: the host's
	AllPlatforms   bool     // instead: those that the base images have
	Manifest       string   // name of a manifest list that gets the images
	NoCache        bool
	NoCacheFilter  []string // stages that must not use the cache
	Pull           spec.PullPolicy
	Squash         bool
	Epoch          *time.Time     // --timestamp or SOURCE_DATE_EPOCH
	KeepTimes      bool           // with Epoch: files keep their times, only image and history show it
	Network        string         // of RUN: default, none, host
	Run            spec.Container // what else the containers of RUN steps get: limits, mounts, hosts
	PassProxy      bool           // RUN sees the caller's proxy variables; no image keeps them
	Edits          Edits
	Docker         bool // images get Docker's manifest instead of the OCI one
	Secrets        map[string]Secret
	SSH            map[string]string // id -> agent socket
	AllowInsecure  bool              // RUN --security=insecure is allowed
	KeepFailed     bool              // keep the layer of a failed RUN and say how to enter it
	CheckOnly      bool              // --check: lint and stop
	MeasureContext bool              // tell the reporter how large the context is
	Jobs           int               // stages that may run at once; 0: one per CPU
	From           string            // instead of the first FROM's image
	IgnoreFile     string            // instead of .dockerignore
	AllStages      bool              // build what the target does not need as well
	CacheFrom      []cache.Spec
	CacheTo        []cache.Spec
	CacheTTL       time.Duration // steps that were made longer ago are made again; 0: however old
	NoImage        bool          // only Exports
	Exports        []Export
	Getenv         func(string) (string, bool)
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

// Secret is one --secret.
type Secret struct {
	File string // read when needed
	Env  string // or the content of this variable
}

// Result is a finished build.
type Result struct {
	ImageID  string // hex; of the manifest list where several platforms or a list were asked for
	Names    []string
	Images   []PlatformImage // one per platform, in the order asked for
	Warnings []Warning
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

// Layer identifies one read-only layer of the store together with all that lies
// below it.
type Layer = cache.Layer

// Base is an image that a stage starts from.
type Base struct {
	ID     string // hex
	Name   string
	Config dockerspec.DockerOCIImage
	Top    Layer
}

// Scratch is a writable layer on top of a parent. Its files appear in Upper;
// Merged is the mounted view, only valid until Commit or Discard.
type Scratch interface {
	// Merged mounts parent and upper together, once, and returns the path.
	Merged() (string, error)
	// Upper is the directory that receives the changes.
	Upper() string
	// Rootfs is the same for a monitor, which mounts it itself. Merged must
	// not be mounted at that time: Unmount first.
	Rootfs() spec.Rootfs
	// Unmount ends Merged; calling it twice is fine.
	Unmount() error
	// Commit turns the changes into a read-only layer. The scratch is gone
	// afterwards. With epoch no file is newer than it.
	Commit(ctx context.Context, epoch *time.Time) (Layer, error)
	// Discard drops everything; after Commit it does nothing.
	Discard() error
}

// RunStep is one RUN.
type RunStep struct {
	Rootfs         spec.Rootfs
	Config         dockerspec.DockerOCIImageConfig // env, user, workdir
	Container      spec.Container                  // Process.Env comes on top of Config.Env
	In             io.Reader                       // nil: nothing
	Stdout, Stderr io.Writer
	// Started is told the id of the container, for the progress display.
	Started func(id string)
}

// ImageSpec is an image to be created.
type ImageSpec struct {
	Config      dockerspec.DockerOCIImage // complete: rootfs, history, created
	Top         Layer
	Names       []string
	Annotations map[string]string
	Docker      bool // Docker's manifest instead of the OCI one
}

// ListSpec is a manifest list to be made of images.
type ListSpec struct {
	Images      []string // hex ids
	Names       []string
	Add         string // name of a list that gets the images; it is made if there is none
	Annotations map[string]string
}

// Engine is what the executor needs of the rest of Proa. Everything is called
// inside the user's namespace. All methods may be called concurrently.
type Engine interface {
	// Base resolves an image reference for a platform, pulling as the policy
	// says.
	Base(ctx context.Context, ref, platform string, pull spec.PullPolicy) (*Base, error)
	// NewScratch starts a layer on parent.
	NewScratch(ctx context.Context, parent Layer) (Scratch, error)
	// NewDetached starts a layer that sees nothing of the parent on which it
	// will stand.
	NewDetached(ctx context.Context, parent Layer) (Scratch, error)
	// LayerID is what a layer with this content on parent is called, whether or
	// not it is there.
	LayerID(parent Layer, diffID string) string
	// FindLayer finds a layer with this content, on whatever parent.
	FindLayer(diffID string) (Layer, bool)
	// CopyLayer puts content that some layer has on parent.
	CopyLayer(ctx context.Context, diffID string, parent Layer) (Layer, error)
	// OpenCache opens a build cache, or an image that may have one inside: of a
	// list all images. Kind NotFound: there is none.
	OpenCache(ctx context.Context, ref cache.Ref) ([]cache.Item, error)
	// WriteCache makes an artifact of layers and a configuration, which is asked
	// for once the blobs of the layers are known. It replaces what is there when
	// all is written.
	WriteCache(ctx context.Context, ref cache.Ref, configType string, layers []cache.Content, config func([]cache.Blob) ([]byte, error)) error
	// MountLayer mounts a layer chain read-only; release unmounts.
	MountLayer(ctx context.Context, top Layer) (dir string, release func() error, err error)
	// CheckNames refuses, before anything is done, what cannot be the name of an
	// image.
	CheckNames(names []string) error
	// CheckRun refuses, before anything is done, settings of RUN steps that
	// this host cannot give.
	CheckRun(ctx context.Context, c spec.Container) error
	// Run executes one step and returns its exit code.
	Run(ctx context.Context, step RunStep) (int, error)
	// CreateImage stores an image and returns its hex id and its names as they
	// are shown: with a tag.
	CreateImage(ctx context.Context, s ImageSpec) (id string, names []string, err error)
	// CreateList stores a manifest list and returns its hex id and its names as
	// they are shown.
	CreateList(ctx context.Context, l ListSpec) (id string, names []string, err error)
	// Platforms are those that an image is available for, here or at its
	// registry.
	Platforms(ctx context.Context, ref string) ([]string, error)
	// LayerExists says whether a layer remembered by the cache is still there.
	LayerExists(id string) bool
	// CacheDir is where the build cache lives: records and cache mounts.
	CacheDir() string
	// SecretDir is where the files of secrets may lie while a step runs:
	// private and, where the host has it, in memory.
	SecretDir() string
}

// Reporter is told how the build goes; one event at a time per stage, from
// several goroutines.
type Reporter interface {
	// Plan is called once, before anything runs.
	Plan(stages []StageInfo, steps int)
	// Context is the size in bytes of a directory context, without what the
	// ignore file leaves out; only called with Options.MeasureContext.
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
}

// StepState is what happened to a step.
type StepState int

const (
	StepStarted StepState = iota
	StepCached            // the result was known
	StepRunning           // Container is set
	StepDone
	StepFailed
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

// SPDX-License-Identifier: Apache-2.0

// Package engine is what a build asks of the rest of Proa: images, layers and
// containers, as an interface and the values that pass through it. Whoever
// implements it knows nothing of Dockerfiles, whoever uses it nothing of stores.
package engine

import (
	"context"
	"io"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/spec"
)

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
	Architecture   string                          // of the image
	Config         dockerspec.DockerOCIImageConfig // env, user, workdir
	Container      spec.Container                  // Process.Env comes on top of Config.Env
	In             io.Reader                       // nil: nothing
	Stdout, Stderr io.Writer
	// Started is told the id of the container, for the progress display.
	Started func(id string)
	// Mounted is told that the mounts are there: what they are of may lose its name.
	Mounted func()
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
	Entries     []map[string]string // annotations of the entry of each image
}

// Engine is what the executor needs of the rest of Proa. Everything is called
// inside the user's namespace. All methods may be called concurrently.
type Engine interface {
	// Caches outside of the store: artifacts and images at registries, directories.
	cache.Writer
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
	// What the cache needs to forget layers; LayerExists says as well whether one
	// that it remembers is still there.
	cache.PruneStore
	// DataDir is everything that Proa keeps, as a directory.
	DataDir() string
	// CacheDir is where the build cache lives: records and cache mounts.
	CacheDir() string
	// SecretDir is where the files of secrets may lie while a step runs:
	// private and, where the host has it, in memory.
	SecretDir() string
}

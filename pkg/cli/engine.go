// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/spec"
)

// Engine is what the commands call: libpod's, or a test's stand-in.
type Engine interface {
	Run(context.Context, *spec.Container, libpod.RunOptions) (string, error)
	Create(context.Context, *spec.Container, libpod.CreateOptions) (string, error)
	Start(context.Context, string, libpod.StartOptions) error
	Stop(context.Context, string, libpod.StopOptions) error
	Kill(ctx context.Context, ref, signal string) error
	Restart(context.Context, string, libpod.StopOptions) error
	Pause(ctx context.Context, ref string) error
	Unpause(ctx context.Context, ref string) error
	Wait(ctx context.Context, ref string, conditions []string) (int, error)
	Remove(context.Context, string, libpod.RemoveOptions) error
	Rename(ctx context.Context, ref, name string) error
	Attach(context.Context, string, libpod.Streams) error
	Exec(context.Context, string, libpod.ExecOptions) error
	Logs(ctx context.Context, ref string, o libpod.LogOptions, stdout, stderr io.Writer) error
	Ports(ctx context.Context, ref string) ([]spec.Port, error)
	Top(ctx context.Context, ref string, args []string) ([]string, [][]string, error)

	List(context.Context, libpod.ListOptions) ([]libpod.Summary, error)
	Inspect(ctx context.Context, ref string) (*libpod.Details, error)

	Pull(context.Context, string, libpod.PullOptions) (string, error)
	Images(context.Context, libpod.ImageListOptions) ([]libpod.ImageSummary, error)
	ImageInspect(ctx context.Context, ref string) (*libpod.ImageDetails, error)
	Tag(ctx context.Context, ref, name string) error
	Untag(ctx context.Context, ref string, names ...string) error
	RemoveImage(context.Context, string, libpod.RemoveImageOptions) (*libpod.ImageRemoval, error)
	Load(context.Context, libpod.LoadOptions) ([]libpod.LoadedImage, error)
	Import(context.Context, libpod.ImportOptions) (string, error)
	Push(context.Context, string, libpod.PushOptions) ([]libpod.Pushed, error)
	Save(ctx context.Context, refs []string, o libpod.SaveOptions) error
	ImageHistory(ctx context.Context, ref string) ([]libpod.ImageHistory, error)
	ImageTree(ref string, children bool) (libpod.ImageSummary, []libpod.TreeLayer, error)
	PruneImages(context.Context, libpod.PruneImagesOptions) (*libpod.PrunedImages, error)
	Search(ctx context.Context, term string, o libpod.SearchOptions) ([]libpod.SearchResult, error)
	Login(context.Context, libpod.LoginOptions) (where string, err error)
	LoggedIn(libpod.LoginOptions) (string, error)
	Credentials(libpod.LoginOptions) (user, password string, err error)
	Logout(o libpod.LoginOptions, all bool) error

	Commit(ctx context.Context, ref string, o libpod.CommitOptions) (string, error)
	Diff(ctx context.Context, ref, base string, kind libpod.DiffKind) ([]libpod.Change, error)
	Export(ctx context.Context, ref string, w io.Writer) error

	manifestEngine

	ImageSign(ctx context.Context, name string, o libpod.ImageSignOptions) ([]string, error)
	TrustList(libpod.TrustListOptions) ([]libpod.TrustEntry, error)
	TrustPolicy(path string) ([]byte, error)
	TrustSet(libpod.TrustSetting) (path string, err error)
	artifactEngine
	mountEngine

	DiskUsage(context.Context) (*libpod.Disk, error)
	Check(context.Context, libpod.CheckOptions) ([]libpod.CheckFinding, error)
	ForgetHost(ctx context.Context, host string) (names []string, err error)

	VolumeCreate(context.Context, libpod.Volume) (*libpod.Volume, error)
	Volumes(ctx context.Context, filters map[string][]string) ([]libpod.Volume, error)
	VolumeSizes(ctx context.Context, volumes []libpod.Volume) (map[string]int64, error)
	VolumeInspect(ctx context.Context, name string) (*libpod.Volume, error)
	VolumeRemove(ctx context.Context, name string, force bool) error

	Info(context.Context) (*libpod.Info, error)
	Version() libpod.Version
	Unshare(ctx context.Context, argv []string) error
}

// abs makes a path of the command line absolute.
func (a *app) abs(p string) (string, error) { return spec.FromDir(a.std.Dir, p) }

// absolute makes those paths absolute that are given: not empty.
func (a *app) absolute(paths ...*string) error {
	for _, p := range paths {
		if *p == "" {
			continue
		}
		var err error
		if *p, err = a.abs(*p); err != nil {
			return err
		}
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod"
)

// imageEngine is the part of the engine that the commands of images use.
type imageEngine interface {
	manifestEngine
	artifactEngine
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
	ImageSign(ctx context.Context, name string, o libpod.ImageSignOptions) ([]string, error)
	TrustList(libpod.TrustListOptions) ([]libpod.TrustEntry, error)
	TrustPolicy(path string) ([]byte, error)
	TrustSet(libpod.TrustSetting) (path string, err error)
}

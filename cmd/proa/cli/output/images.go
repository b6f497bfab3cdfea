// SPDX-License-Identifier: Apache-2.0

package output

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/spec"
)

const none = "<none>"

// ImageRow is one name of one image as images shows it.
type ImageRow struct {
	Containers   string
	CreatedAt    string
	CreatedSince string
	Digest       string
	ID           string
	Repository   string
	SharedSize   string
	Size         string
	Tag          string
	UniqueSize   string
	VirtualSize  string
}

// Created is what podman's templates call the age.
func (r *ImageRow) Created() string { return r.CreatedSince }

// CreatedTime is what they call the time.
func (r *ImageRow) CreatedTime() string { return r.CreatedAt }

// ImageHeader holds the titles of the columns of images.
func ImageHeader() *ImageRow {
	return &ImageRow{Containers: "CONTAINERS", CreatedAt: "CREATED AT", CreatedSince: "CREATED", Digest: "DIGEST", ID: "IMAGE ID",
		Repository: "REPOSITORY", SharedSize: "SHARED SIZE", Size: "SIZE", Tag: "TAG", UniqueSize: "UNIQUE SIZE", VirtualSize: "SIZE"}
}

// ImageColumns is the default table of images.
func ImageColumns(digests bool) []string {
	if digests {
		return []string{"Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"}
	}
	return []string{"Repository", "Tag", "ID", "CreatedSince", "Size"}
}

// Image makes the rows of one image: one per name.
func Image(s *libpod.ImageSummary, now time.Time, noTrunc bool) []any {
	row := ImageRow{
		ID: "sha256:" + strings.TrimPrefix(s.ID, "sha256:"), CreatedAt: s.Created.Local().Format("2006-01-02 15:04:05 -0700 MST"),
		CreatedSince: Ago(now, s.Created), Size: Size(s.Size), VirtualSize: Size(s.Size), SharedSize: "N/A", UniqueSize: "N/A",
		Containers: strconv.Itoa(s.Containers), Repository: none, Tag: none, Digest: none,
	}
	if s.Created.IsZero() || s.Created.Unix() <= 0 {
		row.CreatedSince = "N/A"
	}
	if !noTrunc {
		row.ID = spec.ShortID(s.ID)
	}
	digests := map[string]string{}
	for _, d := range s.RepoDigests {
		repo, digest, _ := strings.Cut(d, "@")
		digests[repo] = digest
	}
	var rows []any
	for _, n := range s.Names {
		r := row
		r.Repository, r.Tag = SplitTag(n)
		if d := digests[r.Repository]; d != "" {
			r.Digest = d
		}
		rows = append(rows, &r)
	}
	if len(rows) == 0 {
		for repo, d := range digests {
			r := row
			r.Repository, r.Digest = repo, d
			return []any{&r}
		}
		rows = []any{&row}
	}
	return rows
}

// SortImages orders the rows of images by a part of the name: "repository" or
// "tag".
func SortImages(rows []any, by string) {
	key := map[string]func(*ImageRow) string{
		"repository": func(r *ImageRow) string { return r.Repository + ":" + r.Tag },
		"tag":        func(r *ImageRow) string { return r.Tag },
	}[by]
	if key == nil {
		return
	}
	slices.SortStableFunc(rows, func(a, b any) int { return strings.Compare(key(a.(*ImageRow)), key(b.(*ImageRow))) })
}

// SplitTag cuts "registry:5000/name:tag" at the tag.
func SplitTag(name string) (repo, tag string) {
	i := strings.LastIndexByte(name, ':')
	if i < 0 || strings.ContainsRune(name[i:], '/') {
		return name, none
	}
	return name[:i], name[i+1:]
}

// VolumeRow is one volume as volume ls shows it.
type VolumeRow struct {
	Driver     string
	Labels     string
	Links      string
	Mountpoint string
	Name       string
	Scope      string
	Size       string

	labels map[string]string
}

// Label is the placeholder {{.Label "name"}}.
func (r *VolumeRow) Label(name string) string {
	if r.labels == nil {
		return name
	}
	return r.labels[name]
}

// VolumeHeader holds the titles of the columns of volume ls.
func VolumeHeader() *VolumeRow {
	return &VolumeRow{Driver: "DRIVER", Labels: "LABELS", Links: "LINKS", Mountpoint: "MOUNTPOINT", Name: "VOLUME NAME", Scope: "SCOPE", Size: "SIZE"}
}

// Volume makes the row of one volume.
func Volume(v *libpod.Volume) *VolumeRow {
	labels := v.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	return &VolumeRow{Driver: v.Driver, Labels: labelList(v.Labels), Links: strconv.Itoa(len(v.Containers)), Mountpoint: v.Mountpoint,
		Name: v.Name, Scope: "local", Size: "N/A", labels: labels}
}

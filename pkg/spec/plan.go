// SPDX-License-Identifier: Apache-2.0

package spec

// Rootfs says how a monitor puts a container's root file system together. The
// storage package makes it, the monitor mounts it in its own mount namespace.
type Rootfs struct {
	Driver string `json:"driver"` // overlay, fuse-overlayfs, vfs or dir
	// Home is the directory that relative Lowers start at: the kernel limits
	// the text of all lower directories to one page.
	Home   string   `json:"home,omitempty"`
	Lowers []string `json:"lowers,omitempty"` // topmost first
	Upper  string   `json:"upper,omitempty"`
	Work   string   `json:"work,omitempty"`
	// Dir is, with vfs and dir, the ready root directory.
	Dir string `json:"dir,omitempty"`
	// Program is the fuse-overlayfs binary.
	Program string `json:"program,omitempty"`
	// UIDMap and GIDMap shift ownership (fuse-overlayfs): container id, id in
	// the user's namespace, count.
	UIDMap   []IDMap `json:"uidMap,omitempty"`
	GIDMap   []IDMap `json:"gidMap,omitempty"`
	ReadOnly bool    `json:"readOnly,omitempty"`
}

// IDMap is one line of a uid_map or gid_map.
type IDMap struct {
	Inside  uint32 `json:"inside"`
	Outside uint32 `json:"outside"`
	Count   uint32 `json:"count"`
}

// ImageConfig is the part of an OCI image configuration that a container
// inherits (image-spec, config.md).
type ImageConfig struct {
	ID           string            `json:"id"` // hex digest of the configuration
	Architecture string            `json:"architecture,omitempty"`
	OS           string            `json:"os,omitempty"`
	User         string            `json:"user,omitempty"`
	ExposedPorts []string          `json:"exposedPorts,omitempty"` // "80/tcp", sorted
	Env          []string          `json:"env,omitempty"`
	Entrypoint   []string          `json:"entrypoint,omitempty"`
	Cmd          []string          `json:"cmd,omitempty"`
	Volumes      []string          `json:"volumes,omitempty"` // sorted
	WorkingDir   string            `json:"workingDir,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	StopSignal   string            `json:"stopSignal,omitempty"`
	Shell        []string          `json:"shell,omitempty"`
	OnBuild      []string          `json:"onBuild,omitempty"`
	Health       *Health           `json:"health,omitempty"`
}

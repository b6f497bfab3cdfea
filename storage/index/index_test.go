// SPDX-License-Identifier: Apache-2.0

package index

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/proa-containers/proa/pkg/errs"
)

// disk is a store as the library leaves it, made by hand.
type disk struct {
	t      *testing.T
	root   string
	images []map[string]any
	layers []Layer
}

func newDisk(t *testing.T) *disk {
	t.Setenv("CONTAINERS_REGISTRIES_CONF", filepath.Join(t.TempDir(), "none"))
	return &disk{t: t, root: t.TempDir()}
}

func (d *disk) write(name string, data []byte) {
	d.t.Helper()
	name = filepath.Join(d.root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		d.t.Fatal(err)
	}
	// As the library does: a file is only ever replaced whole.
	if err := os.WriteFile(name+".new", data, 0o600); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) json(name string, v any) {
	d.t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		d.t.Fatal(err)
	}
	d.write(name, raw)
}

// save writes the records; only now a reader sees what was added.
func (d *disk) save() {
	d.t.Helper()
	d.json("overlay-layers/layers.json", d.layers)
	d.json("overlay-images/images.json", d.images)
}

// layer adds a layer of so many bytes on top of another one.
func (d *disk) layer(id, parent string, size int64) {
	d.t.Helper()
	d.layers = append(d.layers, Layer{ID: id, Parent: parent, DiffID: digest.FromString(id).String(), DiffSize: size, Flags: map[string]any{FlagLayer: LayerImage}})
	d.write("overlay/"+id+"/link", []byte("SHORT"+id))
	if parent != "" {
		lower := "l/SHORT" + parent
		if more, err := os.ReadFile(filepath.Join(d.root, "overlay", parent, "lower")); err == nil {
			lower += ":" + string(more)
		}
		d.write("overlay/"+id+"/lower", []byte(lower))
	}
	if err := os.Mkdir(filepath.Join(d.root, "overlay", id, "diff"), 0o750); err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) bigData(id, key string, data []byte) {
	if key != "manifest" {
		key = "=" + base64.StdEncoding.EncodeToString([]byte(key))
	}
	d.write("overlay-images/"+id+"/"+key, data)
}

// image adds an image and returns its id.
func (d *disk) image(top, created string, names ...string) string {
	conf := []byte(`{"created":"` + created + `","architecture":"amd64","os":"linux","comment":"by hand",` +
		`"config":{"Cmd":["sh"],"ExposedPorts":{"80/tcp":{},"443/tcp":{}},"Labels":{"a":"b"}},` +
		`"history":[{"created_by":"ADD"},{"created_by":"ENV","empty_layer":true},{"created_by":"RUN"}]}`)
	dg := digest.FromBytes(conf)
	d.bigData(dg.Encoded(), dg.String(), conf)
	d.record(dg.Encoded(), `{"mediaType":"m","config":{"digest":"`+dg.String()+`"}}`, top, names)
	return dg.Encoded()
}

func (d *disk) record(id, manifest, top string, names []string) map[string]any {
	d.bigData(id, "manifest", []byte(manifest))
	r := map[string]any{"id": id, "names": names, "layer": top, "big-data-names": []string{"manifest"},
		"big-data-digests": map[string]string{"manifest": digest.FromString(manifest).String()}}
	d.images = append(d.images, r)
	return r
}

// sample has two images: one is the other's base.
func sample(t *testing.T) (d *disk, base, top string) {
	d = newDisk(t)
	d.layer("aa", "", 100)
	d.layer("bb", "aa", 20)
	base = d.image("aa", "2020-01-01T00:00:00Z", "docker.io/library/base:latest")
	top = d.image("bb", "2021-01-01T00:00:00Z", "docker.io/library/top:latest", "localhost/mine:1")
	d.images[1]["metadata"] = `{"proa-repo-digests":["docker.io/library/top@` + digest.FromString("m").String() + `"],"proa-parent":"` + base + `"}`
	d.save()
	return d, base, top
}

func TestResolve(t *testing.T) {
	d, base, top := sample(t)
	x := Of(d.root)
	for name, want := range map[string]string{
		"base": base, "docker.io/library/base": base, "top:latest": top, "mine:1": top, "localhost/mine:1": top,
		top: top, top[:12]: top, "sha256:" + base: base,
		"top@" + digest.FromString("m").String(): top,
	} {
		if img, err := x.Resolve(name); err != nil || img.ID != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string]errs.Kind{
		"top:2": errs.NotFound, "base@" + digest.FromString("m").String(): errs.NotFound, strings.Repeat("0", 64): errs.NotFound,
		"UPPER": errs.Invalid, "": errs.Invalid,
	} {
		if _, err := x.Resolve(name); !errs.Is(err, want) {
			t.Errorf("%q: got %v, want kind %v", name, err, want)
		}
	}
	if _, err := x.Image(strings.Repeat("0", 64)); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestAmbiguousID(t *testing.T) {
	names := []byte("\ni\tabc1\nn\tdocker.io/library/x:latest\tabc1\ni\tabd2\n")
	if id, many := lookupID(names, "abc"); id != "abc1" || many {
		t.Error(id, many)
	}
	if id, many := lookupID(names, "ab"); id != "" || !many {
		t.Error(id, many)
	}
	if id, many := lookupID(names, "abd2"); id != "abd2" || many {
		t.Error(id, many)
	}
	if id, many := lookupID(names, "abe"); id != "" || many {
		t.Error(id, many)
	}
}

func TestDescription(t *testing.T) {
	d, base, top := sample(t)
	x := Of(d.root)
	img, err := x.Resolve("top")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(img.Layers, []string{"bb", "aa"}) || !reflect.DeepEqual(img.LayerSizes, []int64{100, 20}) || img.Size != 120 ||
		!reflect.DeepEqual(img.Lowers, []string{"l/SHORTbb", "l/SHORTaa"}) || img.RootMode != 0o750 {
		t.Errorf("layers: %+v", img)
	}
	if h := img.History; len(h) != 3 || h[0].Size != 100 || h[1].Size != 0 || h[2].Size != 20 {
		t.Errorf("history: %+v", img.History)
	}
	if !img.Created.Equal(time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)) || img.Comment != "by hand" || img.Parent != base ||
		!reflect.DeepEqual(img.Config.ExposedPorts, []string{"443/tcp", "80/tcp"}) || img.Labels["a"] != "b" {
		t.Errorf("configuration: %+v", img)
	}
	if got := x.LayerDirs(img); !reflect.DeepEqual(got, []string{filepath.Join(d.root, "overlay/bb/diff"), filepath.Join(d.root, "overlay/aa/diff")}) {
		t.Error(got)
	}
	if !x.LayerExists("aa") || x.LayerExists("cc") || x.LayerExists("") || x.LayerExists("../overlay/aa") {
		t.Error("LayerExists")
	}
	list, err := x.List()
	if err != nil || len(list) != 2 || list[0].ID != top {
		t.Errorf("%+v %v", list, err)
	}
}

// What a killed command left, or somebody damaged, is no image.
func TestUnusableImages(t *testing.T) {
	for what, harm := range map[string]func(d *disk, r map[string]any, id string){
		"no manifest yet": func(_ *disk, r map[string]any, _ string) { r["big-data-names"] = []string{} },
		"not yet named": func(_ *disk, r map[string]any, _ string) {
			r["flags"], r["names"] = map[string]any{FlagPending: true}, nil
		},
		"no configuration":  func(d *disk, _ map[string]any, id string) { os.RemoveAll(filepath.Join(d.root, "overlay-images", id)) },
		"a broken manifest": func(d *disk, _ map[string]any, id string) { d.bigData(id, "manifest", []byte("{")) },
		"a missing layer":   func(d *disk, _ map[string]any, _ string) { d.layers = d.layers[:1] },
		"layers in a ring":  func(d *disk, _ map[string]any, _ string) { d.layers[0].Parent = "bb" },
		"no short name":     func(d *disk, _ map[string]any, _ string) { os.Remove(filepath.Join(d.root, "overlay/bb/link")) },
	} {
		d, _, top := sample(t)
		harm(d, d.images[1], top)
		d.save()
		if _, err := Of(d.root).Resolve("top"); !errs.Is(err, errs.NotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	d, _, _ := sample(t)
	d.images[1]["flags"] = map[string]any{FlagPending: true} // and has its name
	d.save()
	if _, err := Of(d.root).Resolve("top"); err != nil {
		t.Error(err)
	}
	d.write("overlay-images/images.json", []byte("{"))
	if _, err := Of(d.root).List(); !errs.Is(err, errs.Corrupt) {
		t.Error(err)
	}
}

// A store that is not there is empty, and reading it makes nothing.
func TestNoStore(t *testing.T) {
	root := filepath.Join(t.TempDir(), "storage")
	x := Of(root)
	if l, err := x.List(); err != nil || len(l) != 0 {
		t.Error(l, err)
	}
	if _, err := x.Resolve("x"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if x.UpToDate() || x.Driver() != "" {
		t.Error("there is nothing")
	}
	if _, err := os.Stat(root); !errors.Is(err, fs.ErrNotExist) {
		t.Error("made by a reader:", err)
	}
}

func TestUpToDate(t *testing.T) {
	d, base, top := sample(t)
	x := Of(d.root)
	if x.UpToDate() {
		t.Error("before the first look")
	}
	if err := x.Refresh(); err != nil || !x.UpToDate() {
		t.Error(err)
	}
	d.images = d.images[:1] // another command removed the image
	d.save()
	if x.UpToDate() {
		t.Error("the store changed")
	}
	if _, err := x.Resolve("top"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if !x.UpToDate() {
		t.Error("the reader writes what it had to derive")
	}
	if _, err := os.Stat(x.imageFile(top)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the removed image's file is left:", err)
	}
	if _, err := os.Stat(x.imageFile(base)); err != nil {
		t.Error(err)
	}
}

func TestLists(t *testing.T) {
	d, base, _ := sample(t)
	d.record(strings.Repeat("e", 64), `{"manifests":[{"annotations":{"proa.source":"`+base+`"}}]}`, "", []string{"docker.io/library/many:latest"})
	d.save()
	img, err := Of(d.root).Resolve("many")
	if err != nil || !img.List || !reflect.DeepEqual(img.Instances, []string{base}) {
		t.Fatalf("%+v %v", img, err)
	}
	list, err := Of(d.root).List()
	if err != nil || len(list) != 3 || !InLists(list)[base] || len(InLists(list)) != 1 {
		t.Errorf("%+v %v", list, err)
	}
}

func TestUsage(t *testing.T) {
	d, base, top := sample(t)
	d.layer("cc", "aa", 7)
	d.layers[2].Flags = map[string]any{FlagLayer: LayerBuild}
	d.layer("dd", "", 5) // a killed pull's
	d.save()
	x := Of(d.root)
	u, err := x.Usage(nil)
	if err != nil || u.Size != 120 || u.BuildLayers != 1 || u.BuildSize != 7 ||
		u.Images[base] != (ImageUsage{Shared: 100}) || u.Images[top] != (ImageUsage{Shared: 100, Unique: 20}) {
		t.Errorf("%+v %v", u, err)
	}
	_, tree, err := x.Tree("top")
	want := []TreeLayer{{ID: "aa", Size: 100, Names: []string{"base:latest"}}, {ID: "bb", Size: 20, Names: []string{"top:latest", "localhost/mine:1"}}}
	if err != nil || !reflect.DeepEqual(tree, want) {
		t.Errorf("%+v %v", tree, err)
	}
	_, tree, err = x.Requires("base")
	if err != nil || len(tree) != 1 || tree[0].ID != "aa" || len(tree[0].On) != 1 || tree[0].On[0].ID != "bb" {
		t.Errorf("%+v %v", tree, err)
	}
}

func TestVFS(t *testing.T) {
	d, _, _ := sample(t)
	for _, n := range []string{"images", "layers"} {
		if err := os.Rename(filepath.Join(d.root, "overlay-"+n), filepath.Join(d.root, "vfs-"+n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(d.root, "vfs/dir/aa"), 0o700); err != nil {
		t.Fatal(err)
	}
	x := Of(d.root)
	img, err := x.Resolve("base")
	if err != nil || x.Driver() != "vfs" || len(img.Lowers) != 0 || x.LayerDirs(img)[0] != filepath.Join(d.root, "vfs/dir/aa") {
		t.Errorf("%+v %v", img, err)
	}
	if !x.LayerExists("aa") || x.LayerExists("bb") {
		t.Error("LayerExists")
	}
}

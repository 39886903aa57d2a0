// Command icons draws the demo app's icon, once as SVG and once per size as PNG.
//
// The picture is a wall with one door, and a keyhole inside: what an app can
// reach of the enclave is one port. It is written down as distances, not as
// pixels, in a square of side 512; every size is sampled from the same shapes.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"log"
	"math"
	"os"
	"path/filepath"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("icons: ")
	out := flag.String("out", ".", "directory to write to")
	flag.Parse()
	files, err := draw()
	if err != nil {
		log.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(*out, name), content, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

// draw returns every icon, by file name.
func draw() (map[string][]byte, error) {
	files := map[string][]byte{"icon.svg": vector()}
	for _, icon := range []struct {
		name string
		size int
		look look
	}{
		{"icon-192.png", 192, look{corner: corner, scale: 1}},
		{"icon-512.png", 512, look{corner: corner, scale: 1}},
		// A launcher may cut a maskable icon down to a circle of 80 % (W3C
		// manifest, "maskable"), so its ground fills the square and its
		// drawing is smaller.
		{"maskable-192.png", 192, look{scale: maskableScale}},
		{"maskable-512.png", 512, look{scale: maskableScale}},
		// iOS rounds the corners itself and shows transparency as black.
		{"apple-touch-icon.png", 180, look{scale: 1}},
	} {
		var buf bytes.Buffer
		if err := png.Encode(&buf, render(icon.size, icon.look)); err != nil {
			return nil, err
		}
		files[icon.name] = buf.Bytes()
	}
	return files, nil
}

// The drawing, in units of a square of side 512 whose origin is its centre.
const (
	side    = 512.0
	corner  = 116.0 // radius of the ground
	wall    = 146.0 // half the side of the wall, at the middle of its stroke
	bend    = 66.0  // radius of the wall's corners, likewise
	stroke  = 30.0
	door    = 44.0  // half the height of the gap in the left wall
	eye     = 46.0  // radius of the keyhole's eye
	eyeY    = -28.0 // its centre
	slotTop = 17.0  // half the width of the keyhole's slot where it begins
	slotEnd = 35.0  // and where it ends
	slotY   = 86.0  // where it ends
	wireEnd = 206.0 // how far left the wire starts
	wire    = 11.0  // half its thickness

	maskableScale = 0.82
	samples       = 4 // per side of a pixel
)

var (
	groundTop    = color.NRGBA{0x14, 0x8f, 0x86, 0xff}
	groundBottom = color.NRGBA{0x0b, 0x4a, 0x52, 0xff}
	ink          = color.NRGBA{0xff, 0xff, 0xff, 0xff}
	wireInk      = color.NRGBA{0x8c, 0xf0, 0xdc, 0xff}
)

// look is how one file differs from another.
type look struct {
	corner float64 // radius of the ground; 0 fills the square
	scale  float64 // of the drawing on the ground
}

func render(size int, l look) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, size, size))
	unit := side / float64(size)
	for y := range size {
		for x := range size {
			img.SetNRGBA(x, y, average(float64(x)*unit-side/2, float64(y)*unit-side/2, unit, l))
		}
	}
	return img
}

// average is the mean colour, weighted by opacity, of a pixel whose corner is (x, y).
func average(x, y, unit float64, l look) color.NRGBA {
	var r, g, b, a float64
	for i := range samples {
		for j := range samples {
			c := at(x+(float64(i)+0.5)*unit/samples, y+(float64(j)+0.5)*unit/samples, l)
			weight := float64(c.A)
			r, g, b, a = r+weight*float64(c.R), g+weight*float64(c.G), b+weight*float64(c.B), a+weight
		}
	}
	if a == 0 {
		return color.NRGBA{}
	}
	n := func(v float64) uint8 { return uint8(math.Round(v)) }
	return color.NRGBA{n(r / a), n(g / a), n(b / a), n(a / (samples * samples))}
}

// at is the colour of one point.
func at(x, y float64, l look) color.NRGBA {
	if box(x, y, side/2, l.corner) > 0 {
		return color.NRGBA{}
	}
	t := (y + side/2) / side
	x, y = x/l.scale, y/l.scale
	switch {
	case inKeyhole(x, y), inWall(x, y):
		return ink
	case inWire(x, y):
		return wireInk
	}
	return mix(groundTop, groundBottom, t)
}

func inWall(x, y float64) bool {
	if x < 0 && math.Abs(y) < door {
		return false
	}
	return math.Abs(box(x, y, wall, bend)) < stroke/2
}

func inKeyhole(x, y float64) bool {
	if math.Hypot(x, y-eyeY) < eye {
		return true
	}
	t := (y - eyeY) / (slotY - eyeY)
	return t > 0 && t < 1 && math.Abs(x) < slotTop+(slotEnd-slotTop)*t
}

func inWire(x, y float64) bool {
	return x > -wireEnd && x < 0 && math.Abs(y) < wire || math.Hypot(x+wireEnd, y) < wire
}

// box is the signed distance to a square of half side h with rounded corners.
func box(x, y, h, radius float64) float64 {
	dx, dy := math.Abs(x)-h+radius, math.Abs(y)-h+radius
	return math.Hypot(max(dx, 0), max(dy, 0)) + min(max(dx, dy), 0) - radius
}

func mix(a, b color.NRGBA, t float64) color.NRGBA {
	m := func(a, b uint8) uint8 { return uint8(math.Round(float64(a) + (float64(b)-float64(a))*t)) }
	return color.NRGBA{m(a.R, b.R), m(a.G, b.G), m(a.B, b.B), 0xff}
}

// vector is the same drawing as SVG.
func vector() []byte {
	hex := func(c color.NRGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-256 -256 512 512">
<linearGradient id="ground" x2="0" y2="1"><stop stop-color="%s"/><stop offset="1" stop-color="%s"/></linearGradient>
<rect x="-256" y="-256" width="512" height="512" rx="%g" fill="url(#ground)"/>
`, hex(groundTop), hex(groundBottom), corner)
	fmt.Fprintf(&b, `<path d="M%g 0H0" stroke="%s" stroke-width="%g" stroke-linecap="round"/>
`, -wireEnd, hex(wireInk), 2*wire)
	straight := wall - bend
	fmt.Fprintf(&b, `<path d="M%g %gV%gA%g %g 0 0 1 %g %gH%gA%g %g 0 0 1 %g %gV%gA%g %g 0 0 1 %g %gH%gA%g %g 0 0 1 %g %gV%g" fill="none" stroke="%s" stroke-width="%g"/>
`, -wall, -door, -straight, bend, bend, -straight, -wall, straight, bend, bend, wall, -straight,
		straight, bend, bend, straight, wall, -straight, bend, bend, -wall, straight, door, hex(ink), stroke)
	fmt.Fprintf(&b, `<circle cy="%g" r="%g" fill="%s"/><path d="M%g %gH%gL%g %gH%gZ" fill="%s"/>
</svg>
`, eyeY, eye, hex(ink), -slotTop, eyeY, slotTop, slotEnd, slotY, -slotEnd, hex(ink))
	return b.Bytes()
}

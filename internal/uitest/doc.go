// Package uitest tests the web page in a headless Chromium, on the embedded stack. It
// is a module of its own, so that nobody else gets the driver.
package uitest

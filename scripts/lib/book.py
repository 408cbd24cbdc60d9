#!/usr/bin/env python3
"""The pages of the book: collects them, and checks the links of the site that mdbook makes of them.

book.py collect FOLDER     copies what docs/SUMMARY.md names, and the files that these pages link to
book.py check FOLDER       names each link of the site that leads nowhere; exit code 1 if there is one
"""
import html.parser
import os
import re
import shutil
import sys
import urllib.parse

LINK = re.compile(r"(?<=\]\()([^)#\s]+)")
ELSEWHERE = ("http:", "https:", "mailto:")


def collect(folder):
    summary = open("docs/SUMMARY.md", encoding="utf-8").read()
    pages = [os.path.normpath(os.path.join("docs", link)) for link in LINK.findall(summary)]
    files = set(pages)
    for page in pages:
        text = open(page, encoding="utf-8").read()
        for link in LINK.findall(text):
            if not link.startswith(ELSEWHERE):
                files.add(os.path.normpath(os.path.join(os.path.dirname(page), urllib.parse.unquote(link))))
    for file in sorted(files):
        if not os.path.exists(file):
            sys.exit(f"{file} is linked, and does not exist")
        target = os.path.join(folder, named_index(file))
        os.makedirs(target if os.path.isdir(file) else os.path.dirname(target), exist_ok=True)
        if file in pages:
            text = open(file, encoding="utf-8").read()
            with open(target, "w", encoding="utf-8") as out:
                out.write(LINK.sub(lambda link: named_index(link[1]), text))
        elif os.path.isfile(file):
            shutil.copyfile(file, target)
    for name in os.listdir("docs/images"):
        os.makedirs(os.path.join(folder, "docs/images"), exist_ok=True)
        shutil.copyfile(os.path.join("docs/images", name), os.path.join(folder, "docs/images", name))
    with open(os.path.join(folder, "SUMMARY.md"), "w", encoding="utf-8") as out:
        out.write(LINK.sub(lambda link: named_index(os.path.normpath(os.path.join("docs", link[1]))), summary))


def named_index(path):
    """mdbook makes index.html of a README.md, and leaves the links to it as they are."""
    return re.sub(r"(^|/)README\.md$", r"\1index.md", path) if "://" not in path else path


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.anchors, self.links = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.update(attributes[name] for name in ("id", "name") if attributes.get(name))
        self.links.extend(attributes[name] for name in ("href", "src") if attributes.get(name))


def check(folder):
    pages = {}
    for above, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".html"):
                path = os.path.join(above, name)
                pages[path] = Page(open(path, encoding="utf-8").read())
    dead, count = [], 0
    for path, page in sorted(pages.items()):
        for link in page.links:
            target = urllib.parse.urlsplit(link)
            if target.scheme or target.netloc or link.startswith("data:"):
                continue
            # the page for errors is served at any address
            if os.path.basename(path) == "404.html":
                continue
            count += 1
            file = path
            if target.path:
                file = os.path.normpath(os.path.join(os.path.dirname(path), urllib.parse.unquote(target.path)))
            if os.path.isdir(file):
                file = os.path.join(file, "index.html")
            if not os.path.exists(file):
                dead.append(f"{os.path.relpath(path, folder)}: {link}")
            elif target.fragment and file in pages:
                if urllib.parse.unquote(target.fragment) not in pages[file].anchors:
                    dead.append(f"{os.path.relpath(path, folder)}: {link}: no such heading")
    print(f"{len(pages)} pages, {count} links, {len(dead)} dead", file=sys.stderr)
    if dead or not count:
        sys.exit("\n".join(dead) or "there is no link at all")


if __name__ == "__main__":
    {"collect": collect, "check": check}[sys.argv[1]](sys.argv[2])

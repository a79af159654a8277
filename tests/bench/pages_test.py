"""The pages of benches: every folder has one, and what they name is there.

  pages_test.py BENCH

BENCH is the folder of all benches.
"""

import re
import sys
import unittest
from pathlib import Path

BENCH = Path(sys.argv[1])
SHARED = {"regression", "support"}  # parts of other benches
PAGES = sorted(BENCH.rglob("*.md"))


class Pages(unittest.TestCase):
    def test_every_bench_has_a_page_that_the_first_one_leads_to(self):
        first = (BENCH / "README.md").read_text(encoding="utf-8")
        folders = {path.name for path in BENCH.iterdir() if path.is_dir()} - {"__pycache__"}
        self.assertGreater(len(folders - SHARED), 8)
        for folder in folders - SHARED:
            self.assertTrue((BENCH / folder / "README.md").exists(), folder)
            self.assertIn(f"]({folder}/README.md)", first)

    def test_links_lead_to_files(self):
        links = 0
        for page in PAGES:
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
                if "://" not in target:
                    self.assertTrue((page.parent / target).exists(), f"{page}: {target}")
                    links += 1
        self.assertGreater(links, 16)

    def test_scripts_are_where_pages_say(self):
        for page in PAGES:
            for script in re.findall(r"bench/[\w/]+\.(?:py|sh)", page.read_text("utf-8")):
                self.assertTrue((BENCH.parent / script).exists(), f"{page}: {script}")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])

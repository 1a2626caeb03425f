"""A real database of the library's, looked at beside Django."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing, contextmanager

from tests.library.editions import Edition


class Library:
    """One database and the code that uses it."""

    def __init__(self, vendor, database, folder):
        self.vendor, self.database, self.folder = vendor, database, folder

    @contextmanager
    def edition(self, number, **environment):
        with closing(Edition(number, self.database, self.folder, **environment)) as edition:
            yield edition

    def execute(self, *statements):
        if self.vendor == "sqlite":
            with closing(sqlite3.connect(self.database["NAME"])) as connection, connection:
                return [connection.execute(statement).fetchall() for statement in statements]
        if self.vendor == "postgresql":
            import psycopg

            place = f"host=127.0.0.1 port={self.database['PORT']} user=library dbname={self.database['NAME']}"
            with psycopg.connect(place) as connection:
                found = [connection.execute(statement) for statement in statements]
                return [cursor.fetchall() if cursor.description else [] for cursor in found]
        import pymysql

        with pymysql.connect(
            host="127.0.0.1", port=self.database["PORT"], user="root", database=self.database["NAME"]
        ) as connection:
            found = []
            for statement in statements:
                with connection.cursor() as cursor:
                    cursor.execute(statement)
                    found.append(list(cursor.fetchall()))
            connection.commit()
            return found

    def content(self):
        """All that is in it, as text, by a tool that is not ours."""
        if self.vendor == "sqlite":
            with closing(sqlite3.connect(self.database["NAME"])) as connection:
                return "\n".join(connection.iterdump())
        port, name = str(self.database["PORT"]), self.database["NAME"]
        if self.vendor == "postgresql":
            argv = ["pg_dump", "-h", "127.0.0.1", "-p", port, "-U", "library", name]
        else:
            options = ["--no-defaults", "--skip-dump-date", "--routines", "--hex-blob"]
            argv = ["mariadb-dump", *options, "-h", "127.0.0.1", "-P", port, "-u", "root", name]
        text = subprocess.run(argv, check=True, capture_output=True).stdout.decode()
        return "\n".join(line for line in text.splitlines() if "restrict" not in line)

    def add(self, *titles):
        """Books; the first writer has written them all."""
        if not self.execute("SELECT id FROM library_writer")[0]:
            self.execute("INSERT INTO library_writer (name) VALUES ('Ada')")
        rest = "isbn, pages, shelf, price, rank, writer_id) SELECT"
        values = "NULL, 10, 'A1', 2.5, 1, min(id) FROM library_writer"
        if self.vendor == "mysql":
            rest = rest.replace("rank", "`rank`")
        self.execute(*(f"INSERT INTO library_book (title, {rest} '{title}', {values}" for title in titles))

-- An error where the server has no MD5.
SELECT md5('') IS NOT NULL

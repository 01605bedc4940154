SELECT name || '=' || setting FROM pg_settings WHERE name = 'application_name' OR source = 'session' AND name <> 'client_encoding' ORDER BY name

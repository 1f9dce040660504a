// Usage with username
const result = await login({
username: 'johndoe',
password: 'password123'
});
